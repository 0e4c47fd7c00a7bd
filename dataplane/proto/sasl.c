/* sasl.c: see sasl.h. */
#include "sasl.h"
#include "mail_codec.h"

void sasl_wipe(void *p, size_t len)
{
	memset(p, 0, len);
	__asm__ volatile("" : : "r"(p) : "memory");
}

static bool plain_split(struct span all, struct sasl_plain *out)
{
	ptrdiff_t a = span_find(all, 0);
	if (a < 0)
		return false;
	struct span rest = span_from(all, (size_t)a + 1);
	ptrdiff_t b = span_find(rest, 0);
	if (b <= 0)
		return false;
	struct span authzid = span_head(all, (size_t)a);
	out->user = span_head(rest, (size_t)b);
	out->password = span_from(rest, (size_t)b + 1);
	out->other = authzid.len > 0 && !span_ieq(authzid, out->user);
	return out->password.len > 0 && span_find(out->password, 0) < 0;
}

bool sasl_plain_read(struct span b64, uint8_t *raw, size_t cap, struct sasl_plain *out)
{
	ptrdiff_t len = mail_b64_decode(b64, raw, cap);
	*out = (struct sasl_plain){0};
	if (len >= 0 && plain_split(span_of(raw, (size_t)len), out))
		return true;
	*out = (struct sasl_plain){0};
	sasl_wipe(raw, cap);
	return false;
}
