#include <criterion/criterion.h>

#include <time.h>

#include "directory.h"
#include "fake_store.h"

static struct conf_domain domains[] = {{"elsewhere.example", false}, {"first.example", true}};
static struct conf conf = {.n_domain = 2, .domain = domains};

static struct store *open_store(void)
{
	struct store *s = NULL;
	struct store_conf sc = {.n_cores = 1, .ops_per_core = 4, .cpu = -1};
	char why[100], hash[160];
	cr_assert_eq(store_open(&s, &sc, why, sizeof(why)), ERR_OK);
	cr_assert_eq(auth_hash(SPAN("secret"), hash, sizeof(hash)), ERR_OK);
	fake_store_account(s, "joe@first.example", hash);
	fake_store_account(s, "broken@first.example", "*");
	return s;
}

static void pause_ms(unsigned ms)
{
	struct timespec ts = {.tv_nsec = ms * 1000000l};
	(void)nanosleep(&ts, NULL);
}

/* Up to max answers, within 20 s. */
static unsigned wait_for(struct auth_core *ac, struct auth_op **out, unsigned want)
{
	unsigned n = 0;
	for (unsigned i = 0; i < 4000 && n < want; i++) {
		n += auth_poll(ac, out + n, want - n);
		if (n < want)
			pause_ms(5);
	}
	return n;
}

static bool wiped(const struct auth_op *op)
{
	for (size_t i = 0; i < sizeof(op->password); i++)
		if (op->password[i] != 0)
			return false;
	return true;
}

Test(auth, who_may, .timeout = 60)
{
	struct store *s = open_store();
	struct auth *a = auth_create(1, 2);
	struct auth_core *ac = auth_core(a, 1);
	static const struct {
		const char *user, *password;
		bool known, ok;
	} row[] = {
		{"joe@first.example", "secret", true, true},
		{"Joe@First.Example", "secret", true, true},
		{"joe", "secret", true, true}, /* the first local domain */
		{"\"joe\"@first.example", "secret", true, true},
		{"joe@first.example", "secret ", true, false},
		{"joe@first.example", "Secret", true, false},
		{"joe@first.example", "", true, false},
		{"jim@first.example", "secret", false, false},
		{"joe@elsewhere.example", "secret", false, false},
		{"", "secret", false, false},
		{"@", "secret", false, false},
		{"joe@first.example\r\nx", "secret", false, false},
		{"broken@first.example", "", false, false}, /* a mailbox that nobody may log in to */
		{"broken@first.example", "*", false, false},
		/* the decoy's own password opens nothing */
		{"jim@first.example", "no such user has this password", false, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct auth_op *op = auth_submit(ac, &conf, s, span_str(row[i].user), span_str(row[i].password), 5, 6), *got;
		cr_assert_not_null(op, "row %zu", i);
		cr_assert_eq(wait_for(ac, &got, 1), 1);
		cr_assert_eq(got, op);
		cr_expect(got->owner == 5 && got->owner_gen == 6);
		cr_expect_eq(got->known, row[i].known, "row %zu", i);
		cr_expect_eq(got->ok, row[i].ok, "row %zu", i);
		cr_expect_eq(got->acct != 0, row[i].known, "row %zu", i);
		cr_expect(row[i].known || strstr(got->name, "joe") == NULL || i == 8, "row %zu: the name of another: %s", i,
			  got->name);
		cr_expect(wiped(got), "row %zu: the password was needed no longer", i);
		auth_op_free(&got);
		cr_assert_null(got);
		cr_expect(wiped(op));
	}
	auth_destroy(&a);
	store_close(&s);
}

Test(auth, refused_at_once, .timeout = 60)
{
	struct store *s = open_store();
	struct auth *a = auth_create(1, 1);
	static char big[4000];
	memset(big, 'x', sizeof(big));
	cr_assert_null(auth_submit(auth_core(a, 0), &conf, s, SPAN("joe"), span_of(big, 256), 0, 0));
	cr_assert_null(auth_submit(auth_core(a, 0), &conf, s, SPAN("joe"), SPAN("sec\0ret"), 0, 0));
	struct auth_op *op = auth_submit(auth_core(a, 0), &conf, s, span_of(big, sizeof(big)), SPAN("x"), 0, 0), *got;
	cr_assert_not_null(op);
	cr_assert_eq(wait_for(auth_core(a, 0), &got, 1), 1);
	cr_assert(!got->ok && !got->known);
	auth_op_free(&got);
	auth_destroy(&a);
	store_close(&s);
}

/* All that a core may have in flight, on two cores with one helper; the next is refused; all come back. */
Test(auth, many_in_flight, .timeout = 120)
{
	enum { MAX = 256 };
	static struct auth_op *got[MAX];
	struct store *s = open_store();
	/* a cheap hash, so that 512 of them take no time */
	fake_store_account(s, "jo@first.example", "$1$saltsalt$UsdFqFVB.FsuinRDK5eE..");
	struct auth *a = auth_create(1, 2);
	for (unsigned c = 0; c < 2; c++) {
		for (unsigned i = 0; i < MAX; i++)
			cr_assert_not_null(auth_submit(auth_core(a, c), &conf, s, SPAN("jo"), SPAN("x"), i, c));
		cr_assert_null(auth_submit(auth_core(a, c), &conf, s, SPAN("jo"), SPAN("x"), 0, 0));
	}
	for (unsigned c = 0; c < 2; c++) {
		cr_assert_eq(wait_for(auth_core(a, c), got, MAX), MAX);
		for (unsigned i = 0; i < MAX; i++) {
			cr_expect_eq(got[i]->owner, i, "in order");
			cr_expect_eq(got[i]->owner_gen, c);
			auth_op_free(&got[i]);
		}
	}
	struct auth_op *op = auth_submit(auth_core(a, 0), &conf, s, SPAN("jo"), SPAN("x"), 0, 0);
	cr_assert_not_null(op, "room again");
	auth_destroy(&a); /* with one under way */
	store_close(&s);
}

Test(auth, hashes)
{
	char a[160], b[160], small[8];
	cr_assert_eq(auth_hash(SPAN("pw"), a, sizeof(a)), ERR_OK);
	cr_assert_eq(auth_hash(SPAN("pw"), b, sizeof(b)), ERR_OK);
	cr_assert_str_neq(a, b, "a salt of its own");
	cr_assert_eq(strncmp(a, "$y$", 3), 0);
	cr_assert_eq(auth_hash(SPAN(""), a, sizeof(a)), ERR_SYNTAX);
	cr_assert_eq(auth_hash(SPAN("a\0b"), a, sizeof(a)), ERR_SYNTAX);
	cr_assert_eq(auth_hash(SPAN("pw"), small, sizeof(small)), ERR_SYNTAX);
}
