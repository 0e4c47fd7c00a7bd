/* play.c: plays the dialogues of one protocol: play DIR PREFIX. */
#include <stdio.h>
#include "dialogue.h"

extern const struct proto PROTO;

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int bad = dialogue_play_all(&PROTO, argv[1], argv[2]);
	if (bad < 0)
		fprintf(stderr, "no dialogue %s*.txt in %s\n", argv[2], argv[1]);
	return bad != 0;
}
