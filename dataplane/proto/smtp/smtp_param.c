/*
 * smtp_param.c: the parameters of MAIL and RCPT (RFC 5321 4.1.1.11), one row and one function each.
 *
 * What is kept of a value was checked by its own grammar: it holds no control byte and no space, so it may be
 * written into a command to the next host as it is.
 */
#include "mail_addr.h"
#include "mail_codec.h"
#include "queue_state.h"
#include "smtp_int.h"

#define REPEATED "501 5.5.4 Parameter given twice\r\n"

static const char *param_size(struct smtp_param *a, const struct mail_param *p)
{
	/* RFC 1870 4: 1*20DIGIT. A number that no integer holds is a number all the same. */
	if (!p->has_value || p->value.len > 20)
		return "501 5.5.4 Syntax: SIZE=number\r\n";
	for (size_t i = 0; i < p->value.len; i++)
		if (p->value.p[i] < '0' || p->value.p[i] > '9')
			return "501 5.5.4 Syntax: SIZE=number\r\n";
	a->size_overflow = !span_u64(p->value, UINT64_MAX, &a->size);
	return NULL;
}

static const char *param_body(struct smtp_param *a, const struct mail_param *p)
{
	a->body_8bit = span_ieq(p->value, SPAN("8BITMIME"));
	a->body_binary = a->conf->binarymime && span_ieq(p->value, SPAN("BINARYMIME"));
	if (!a->body_8bit && !a->body_binary && !span_ieq(p->value, SPAN("7BIT")))
		return a->conf->binarymime ? "501 5.5.4 Syntax: BODY=7BIT, BODY=8BITMIME or BODY=BINARYMIME\r\n" :
					     "501 5.5.4 Syntax: BODY=7BIT or BODY=8BITMIME\r\n";
	return NULL;
}

/* ---- RFC 3461 ---- */
static bool xtext_valid(struct span s)
{
	uint8_t out[QUEUE_ORCPT_MAX];
	return s.len > 0 && mail_xtext_decode(s, out, sizeof(out)) >= 0;
}

static const char *param_ret(struct smtp_param *a, const struct mail_param *p)
{
	a->ret = span_ieq(p->value, SPAN("FULL")) ? QUEUE_RET_FULL :
		 span_ieq(p->value, SPAN("HDRS")) ? QUEUE_RET_HDRS :
						    QUEUE_RET_NONE;
	return a->ret == QUEUE_RET_NONE ? "501 5.5.4 Syntax: RET=FULL or RET=HDRS\r\n" : NULL;
}

static const char *param_envid(struct smtp_param *a, const struct mail_param *p)
{
	if (p->value.len > QUEUE_ENVID_MAX || !xtext_valid(p->value))
		return "501 5.5.4 Syntax: ENVID=xtext of at most 100 characters\r\n";
	a->envid = p->value;
	return NULL;
}

static uint8_t notify_bit(struct span word)
{
	static const struct {
		struct span word;
		uint8_t bit;
	} row[] = {{SPAN("NEVER"), QUEUE_NOTIFY_NEVER}, {SPAN("SUCCESS"), QUEUE_NOTIFY_SUCCESS},
		   {SPAN("FAILURE"), QUEUE_NOTIFY_FAILURE}, {SPAN("DELAY"), QUEUE_NOTIFY_DELAY}};
	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		if (span_ieq(word, row[i].word))
			return row[i].bit;
	return 0;
}

static const char *param_notify(struct smtp_param *a, const struct mail_param *p)
{
	static const char bad[] = "501 5.5.4 Syntax: NOTIFY=NEVER or some of SUCCESS,FAILURE,DELAY\r\n";
	struct span rest = p->value;
	for (bool more = true; more;) {
		ptrdiff_t comma = span_find(rest, ',');
		uint8_t bit = notify_bit(span_head(rest, comma < 0 ? rest.len : (size_t)comma));
		if (bit == 0 || a->notify & (bit | QUEUE_NOTIFY_NEVER) || (bit == QUEUE_NOTIFY_NEVER && a->notify))
			return bad;
		a->notify |= bit;
		more = comma >= 0;
		rest = span_from(rest, (size_t)(comma + 1));
	}
	return NULL;
}

/* 4.2: addr-type ";" xtext. The type is an atom. */
static const char *param_orcpt(struct smtp_param *a, const struct mail_param *p)
{
	static const char bad[] = "501 5.5.4 Syntax: ORCPT=type;xtext of at most 500 characters\r\n";
	ptrdiff_t semi = span_find(p->value, ';');
	if (semi <= 0 || p->value.len > QUEUE_ORCPT_MAX)
		return bad;
	for (size_t i = 0; i < (size_t)semi; i++) {
		uint8_t c = p->value.p[i], l = ascii_lower(c);
		if ((l < 'a' || l > 'z') && (c < '0' || c > '9') && c != '-')
			return bad;
	}
	if (!xtext_valid(span_from(p->value, (size_t)semi + 1)))
		return bad;
	a->orcpt = p->value;
	return NULL;
}

static const struct row {
	const char *key;
	const char *(*take)(struct smtp_param *a, const struct mail_param *p); /* NULL or the reply */
} mail_rows[] = {
	{"SIZE", param_size}, {"BODY", param_body}, {"RET", param_ret}, {"ENVID", param_envid},
}, rcpt_rows[] = {
	{"NOTIFY", param_notify}, {"ORCPT", param_orcpt},
};

static const char *take_all(struct span tail, const struct row *rows, size_t n, struct smtp_param *a,
			    const char *unknown, const char *bad)
{
	struct mail_param p;
	enum err e;
	uint32_t seen = 0;
	while ((e = mail_param_next(&tail, &p)) == ERR_OK) {
		size_t i = 0;
		while (i < n && !span_ieq(p.key, span_str(rows[i].key)))
			i++;
		if (i == n)
			return unknown;
		if (seen & 1u << i)
			return REPEATED;
		seen |= 1u << i;
		const char *refused = rows[i].take(a, &p);
		if (refused)
			return refused;
	}
	return e == ERR_NOT_FOUND ? NULL : bad;
}

const char *smtp_param_mail(struct span tail, struct smtp_param *a)
{
	return take_all(tail, mail_rows, ARRAY_LEN(mail_rows), a, "555 5.5.4 MAIL parameter not recognized\r\n",
			"501 5.5.4 Syntax error in MAIL parameters\r\n");
}

const char *smtp_param_rcpt(struct span tail, struct smtp_param *a)
{
	return take_all(tail, rcpt_rows, ARRAY_LEN(rcpt_rows), a, "555 5.5.4 RCPT parameter not recognized\r\n",
			"501 5.5.4 Syntax error in RCPT parameters\r\n");
}
