/*
 * dialogue.h: plays text files of what a client says and what the server must answer. See
 * tests/dialogues/README.md for the form. A file is played three ways: what the client says in a row in one
 * piece, byte by byte, and cut at random places; the answers must be the same.
 */
#ifndef VEREDUS_DIALOGUE_H
#define VEREDUS_DIALOGUE_H

#include "buf.h"
#include "proto.h"

enum dialogue_cut { DIALOGUE_WHOLE, DIALOGUE_BYTES, DIALOGUE_RANDOM };

/* Plays text once. False: why says the line and what was expected and what came. */
bool dialogue_play(const struct proto *proto, struct span text, enum dialogue_cut cut, uint64_t seed, struct buf *why);
/* All *.txt of a directory whose name begins with prefix, all three ways (random: 4 seeds). Prints what fails
 * to stderr; returns the number of failed plays, or -1 when there is no file. */
int dialogue_play_all(const struct proto *proto, const char *dir, const char *prefix);

#endif
