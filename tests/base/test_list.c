/* test_list.c: order, deletion in a walk, and nodes that are in no list. */
#include <criterion/criterion.h>
#include "list.h"

struct item {
	int v;
	struct list node;
};

Test(list, order_and_deletion)
{
	struct list head;
	struct item it[5];
	list_init(&head);
	cr_expect(list_empty(&head));
	cr_expect_null(list_pop(&head));
	for (int i = 0; i < 5; i++) {
		it[i].v = i;
		list_init(&it[i].node);
		list_del(&it[i].node); /* in none: stays so */
		cr_expect(list_empty(&it[i].node));
	}
	for (int i = 1; i < 5; i++)
		list_push(&head, &it[i].node);
	list_push_front(&head, &it[0].node);
	int want = 0;
	LIST_EACH(pos, &head) {
		cr_expect_eq(LIST_ENTRY(pos, struct item, node)->v, want);
		want++;
		if (want % 2)
			list_del(pos);
	}
	cr_expect_eq(want, 5);
	cr_expect_eq(list_pop(&head), &it[1].node);
	cr_expect_eq(list_pop(&head), &it[3].node);
	cr_expect(list_empty(&head));
	cr_expect(list_empty(&it[1].node));
}
