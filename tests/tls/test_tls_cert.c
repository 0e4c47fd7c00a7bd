/* test_tls_cert.c: what is wrong with a certificate or its key is said with the file, and what is good is read. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include "pair.h"

TestSuite(tls_cert, .init = pair_setup, .fini = pair_teardown);

static enum err read_pair(const char *cert, const char *key, char why[600], struct tls_cert **c)
{
	struct tls_files f = {cert, key, 0, NULL};
	return tls_cert_read(c, &f, why, 600);
}

Test(tls_cert, what_is_wrong)
{
	char why[600];
	struct tls_cert *c;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	tls_peer_cert(pair_dir, "other", "ec", "mx.example.net", 10);
	tls_peer_cert(pair_dir, "weak", "rsa1024", "mx.example.net", 10);
	tls_peer_cert(pair_dir, "anonymous", "ec", NULL, 10);
	FILE *f = fopen(pair_path("junk", "pem"), "w");
	cr_assert(f != NULL);
	fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", f);
	fclose(f);
	f = fopen(pair_path("empty", "pem"), "w");
	fclose(f);
	char cmd[400];
	/* a chain whose second certificate is damaged */
	snprintf(cmd, sizeof(cmd), "cat %s %s > %s", pair_path("ec", "pem"), pair_path("junk", "pem"), pair_path("chain", "pem"));
	cr_assert_eq(system(cmd), 0);
	static const struct {
		const char *cert, *key;
		enum err err;
		const char *file, *words;
	} rows[] = {
		{"none", "ec", ERR_IO, "none.pem", "No such file"},
		{"ec", "none", ERR_IO, "none.key", "No such file"},
		{"empty", "ec", ERR_SYNTAX, "empty.pem", "no certificate"},
		{"junk", "ec", ERR_SYNTAX, "junk.pem", "no certificate"},
		{"chain", "ec", ERR_SYNTAX, "chain.pem", "damaged"},
		{"ec", "other", ERR_DENIED, "other.key", "not the key"},
		{"weak", "weak", ERR_DENIED, "weak.key", "2048"},
		{"anonymous", "anonymous", ERR_SYNTAX, "anonymous.pem", "names no host"},
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		enum err e = read_pair(pair_path(rows[i].cert, "pem"), pair_path(rows[i].key, "key"), why, &c);
		cr_expect_eq(e, rows[i].err, "%s %s: %s", rows[i].cert, rows[i].key, err_name(e));
		cr_expect(c == NULL);
		cr_expect(strstr(why, rows[i].file) != NULL && strstr(why, rows[i].words) != NULL, "%s", why);
	}
	/* a certificate for a key: the key file holds none */
	cr_expect_eq(read_pair(pair_path("ec", "pem"), pair_path("ec", "pem"), why, &c), ERR_SYNTAX);
}

Test(tls_cert, encrypted_key)
{
	char why[600], path[200];
	struct tls_cert *c;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	snprintf(path, sizeof(path), "openssl ec -aes128 -passout pass:x -in %s -out %s 2>/dev/null", pair_path("ec", "key"),
		 pair_path("locked", "key"));
	cr_assert_eq(system(path), 0);
	cr_expect_eq(read_pair(pair_path("ec", "pem"), pair_path("locked", "key"), why, &c), ERR_SYNTAX);
	cr_expect(strstr(why, "passphrase") != NULL, "%s", why);
}

Test(tls_cert, what_is_read)
{
	char why[600];
	struct tls_cert *c;
	const char *const *names;
	static const struct {
		const char *type;
		enum tls_key_type want;
	} rows[] = {{"ec", TLS_KEY_ECDSA}, {"rsa", TLS_KEY_RSA}, {"ed25519", TLS_KEY_EDDSA}};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		tls_peer_cert(pair_dir, "c", rows[i].type, "MX.Example.net,*.example.org", 10);
		cr_assert_eq(read_pair(pair_path("c", "pem"), pair_path("c", "key"), why, &c), ERR_OK, "%s", why);
		cr_expect_eq(tls_cert_type(c), rows[i].want);
		cr_assert_eq(tls_cert_names(c, &names), 2);
		cr_expect_str_eq(names[0], "mx.example.net");
		cr_expect_str_eq(names[1], "*.example.org");
		cr_expect_gt(tls_cert_expires_s(c), 1700000000);
		tls_cert_free(&c);
	}
	static const char *const name[] = {"other.example"};
	struct tls_files f = {pair_path("c", "pem"), pair_path("c", "key"), 1, name};
	cr_assert_eq(tls_cert_read(&c, &f, why, sizeof(why)), ERR_OK);
	cr_assert_eq(tls_cert_names(c, &names), 1, "the configuration's names are used instead");
	cr_expect_str_eq(names[0], "other.example");
	tls_cert_free(&c);
}
