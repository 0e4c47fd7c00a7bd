/*
 * tls_ticket.c: the keys that session tickets are sealed with (RFC 5077 4, RFC 8446 4.6.1), the same on all cores.
 *
 * A set holds the key of this hour and those of the two before: tickets are sealed with the first and opened
 * with any, so a ticket is good for two hours at least and what was sealed three hours ago cannot be read any more,
 * by us or by whoever takes our memory. The set is written once; the control thread puts a new one in
 * its place every hour.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tls_int.h"

#define KEYS 3

struct ticket_key {
	uint8_t name[16], aes[32], hmac[32];
};

struct tls_keys {
	struct ticket_key key[KEYS]; /* newest first; the older ones may be all zero: never made */
	unsigned n;
};

struct tls_keys *tls_keys_next(const struct tls_keys *now)
{
	struct tls_keys *k = calloc(1, sizeof(*k));
	CHECK(k != NULL);
	CHECK(RAND_bytes((uint8_t *)&k->key[0], sizeof(k->key[0])) == 1);
	k->n = 1;
	if (now != NULL) {
		k->n = now->n < KEYS ? now->n + 1 : KEYS;
		memcpy(&k->key[1], &now->key[0], (k->n - 1) * sizeof(k->key[0]));
	}
	return k;
}

void tls_keys_free(void *keys)
{
	if (keys != NULL)
		OPENSSL_cleanse(keys, sizeof(struct tls_keys));
	free(keys);
}

static bool mac_key(EVP_MAC_CTX *mac, const struct ticket_key *k)
{
	uint8_t key[sizeof(k->hmac)];
	char digest[] = "SHA256";
	memcpy(key, k->hmac, sizeof(key));
	OSSL_PARAM p[] = {OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof(key)),
			  OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
	bool ok = EVP_MAC_CTX_set_params(mac, p) == 1;
	OPENSSL_cleanse(key, sizeof(key));
	return ok;
}

/* OpenSSL's answers: 1 go on, 2 go on and give a new ticket, 0 not ours (a full handshake follows), -1 error. */
int tls_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
		   int encrypt)
{
	const struct tls_keys *keys = tls_shared_keys(tls_of(ssl)->core->shared);
	if (encrypt) {
		const struct ticket_key *k = &keys->key[0];
		memcpy(name, k->name, sizeof(k->name));
		if (RAND_bytes(iv, 16) != 1 ||
		    EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv) != 1 || !mac_key(mac, k))
			return -1;
		return 1;
	}
	for (unsigned i = 0; i < keys->n; i++) {
		const struct ticket_key *k = &keys->key[i];
		if (CRYPTO_memcmp(name, k->name, sizeof(k->name)) != 0)
			continue;
		if (!mac_key(mac, k) || EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv) != 1)
			return -1;
		return i == 0 ? 1 : 2;
	}
	return 0;
}
