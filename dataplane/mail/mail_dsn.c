/*
 * mail_dsn.c: the text of a delivery status notification; see mail_dsn.h.
 *
 * All that comes from elsewhere goes through add_text or add_wrapped, which let out printable ASCII
 * and single spaces only, up to a bound. A wrapped line begins with white space and a word, so it
 * is never empty and never a field.
 */
#include "mail_dsn.h"
#include "check.h"
#include "mail_addr.h"
#include "mail_int.h"

#define LINE_FOLD 72  /* wrap before the word that would pass it */
#define WORD_MAX  400 /* a longer word is cut in two */
#define TEXT_MAX  2000

static const struct {
	const char *name;   /* RFC 3464 2.3.3 */
	const char *status; /* where none was given (RFC 3463) */
	const char *subject;
	const char *text;
} action_row[] = {
	[MAIL_DSN_FAILED] =
		{"failed", "5.0.0", "Undelivered mail returned to sender",
		 "Your message could not be delivered to the recipients named below. It will not "
		 "be "
		 "tried again. The reasons follow, and your message or its header is attached."},
	[MAIL_DSN_DELAYED] = {"delayed", "4.0.0", "Mail delayed, still trying",
			      "Your message has not yet been delivered to the recipients named "
			      "below. You do not "
			      "need to send it again: delivery goes on being tried."},
	[MAIL_DSN_DELIVERED] =
		{"delivered", "2.0.0", "Mail delivered",
		 "As you asked to be told: your message was delivered to the recipients named "
		 "below."},
	[MAIL_DSN_RELAYED] =
		{"relayed", "2.0.0", "Mail relayed",
		 "As you asked to be told: your message was passed on towards the recipients named "
		 "below, to a system that will send no report of its own."},
	[MAIL_DSN_EXPANDED] =
		{"expanded", "2.0.0", "Mail delivered to a list",
		 "As you asked to be told: your message was delivered to the lists named below, "
		 "which pass it on."},
};

static uint8_t clean(uint8_t c)
{
	return c < ' ' || c == 0x7f ? ' ' : c >= 0x80 ? '?' : c;
}

/* As it is, but for what could break a line. */
static void add_text(struct buf *b, struct span s, size_t max)
{
	s = span_head(s, max);
	for (size_t i = 0; i < s.len; i++)
		buf_add_u8(b, clean(s.p[i]));
}

/* Only letters, digits, '.', '-' and what else is named. */
static void add_name(struct buf *b, struct span s, size_t max, const char *also)
{
	size_t from = b->len;

	for (size_t i = 0; i < s.len && b->len - from < max; i++) {
		uint8_t c = s.p[i], l = ascii_lower(c);

		if ((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
		    (c && strchr(also, c)))
			buf_add_u8(b, c);
	}
	if (b->len == from)
		buf_add_str(b, "unknown");
}

/* Word by word from column col on; further lines begin with indent. Returns the column behind it.
 */
static size_t add_wrapped(struct buf *b, size_t col, const char *indent, struct span s)
{
	bool first = true;

	s = span_head(s, TEXT_MAX);
	for (size_t i = 0; i < s.len;) {
		size_t n = 0;

		while (i < s.len && clean(s.p[i]) == ' ')
			i++;
		while (i + n < s.len && n < WORD_MAX && clean(s.p[i + n]) != ' ')
			n++;
		if (n == 0)
			break;
		if (!first && col + 1 + n > LINE_FOLD) {
			buf_add_str(b, "\r\n");
			buf_add_str(b, indent);
			col = strlen(indent);
		} else if (!first) {
			buf_add_u8(b, ' ');
			col++;
		}
		add_text(b, span_of(s.p + i, n), n);
		col += n;
		i += n;
		first = false;
	}
	return col;
}

/* "Name: type; value", folded. */
static void add_field(struct buf *b, const char *name, const char *type, struct span value)
{
	size_t from = b->len;

	buf_add_str(b, name);
	buf_add_str(b, ": ");
	buf_add_str(b, type);
	add_wrapped(b, b->len - from, "    ", value);
	buf_add_str(b, "\r\n");
}

static void add_date(struct buf *b, const char *name, struct mail_date d)
{
	char text[MAIL_DATE_MAX];

	mail_date_rfc5322(d, text);
	add_field(b, name, "", span_str(text));
}

/* RFC 3463 2: class "." subject "." detail */
static bool status_valid(struct span s)
{
	size_t digits = 0, dots = 0;

	if (s.len < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.')
		return false;
	for (size_t i = 1; i < s.len; i++) {
		if (s.p[i] == '.' && (digits || i == 1)) {
			dots++;
			digits = 0;
		} else if (s.p[i] >= '0' && s.p[i] <= '9' && digits < 3) {
			digits++;
		} else {
			return false;
		}
	}
	return dots == 2 && digits;
}

/* ---- the parts ---- */

static void write_header(struct buf *b, const struct mail_dsn *d)
{
	buf_add_str(b, "From: Mail Delivery System <MAILER-DAEMON@");
	add_name(b, d->host, MAIL_DOMAIN_MAX, "_[]:");
	buf_add_str(b, ">\r\nTo: <");
	add_text(b, d->to, MAIL_ADDR_MAX);
	buf_add_str(b, ">\r\n");
	add_field(b, "Subject", "", span_str(action_row[d->action].subject));
	add_date(b, "Date", d->now);
	buf_add_str(b, "Message-ID: <");
	add_name(b, d->id, 60, "");
	buf_add_u8(b, '@');
	add_name(b, d->host, MAIL_DOMAIN_MAX, "_[]:");
	/* RFC 3834 5: so that no robot answers. */
	buf_add_str(
		b,
		">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_");
	add_name(b, d->id, 60, "");
	buf_add_str(b, "\"\r\n\r\nThis is a delivery report in MIME format.\r\n");
}

static void write_delimiter(struct buf *b, const struct mail_dsn *d, const char *tail)
{
	buf_add_str(b, "\r\n--=_");
	add_name(b, d->id, 60, "");
	buf_add_str(b, tail);
	buf_add_str(b, "\r\n");
}

static void write_human_rcpt(struct buf *b, const struct mail_dsn_rcpt *r)
{
	size_t from = b->len, col;

	buf_add_str(b, "  <");
	add_text(b, r->final, MAIL_ADDR_MAX);
	buf_add_str(b, ">");
	if (r->reason.len || r->reply.len) {
		buf_add_str(b, ":\r\n      ");
		from = b->len - 6;
	}
	col = b->len - from;
	if (r->reason.len) {
		col = add_wrapped(b, col, "      ", r->reason);
	} else if (r->reply.len && r->remote_mta.len) {
		buf_add_str(b, "the host ");
		add_name(b, r->remote_mta, MAIL_DOMAIN_MAX, "_[]:");
		buf_add_str(b, " answered:\r\n      ");
		col = add_wrapped(b, 6, "      ", r->reply);
	} else if (r->reply.len) {
		col = add_wrapped(b, col, "      ", r->reply);
	}
	buf_add_str(b, "\r\n");
}

static void write_human(struct buf *b, const struct mail_dsn *d)
{
	buf_add_str(b, "Content-Type: text/plain; charset=us-ascii\r\nContent-Description: "
		       "Notification\r\n\r\n"
		       "This is the mail system at ");
	add_name(b, d->host, MAIL_DOMAIN_MAX, "_[]:");
	buf_add_str(b, ".\r\n\r\n");
	add_wrapped(b, 0, "", span_str(action_row[d->action].text));
	buf_add_str(b, "\r\n\r\n");
	for (uint32_t i = 0; i < d->n_rcpt; i++)
		write_human_rcpt(b, &d->rcpt[i]);
}

/* RFC 3464 2.3 */
static void write_rcpt(struct buf *b, const struct mail_dsn *d, const struct mail_dsn_rcpt *r)
{
	buf_add_str(b, "\r\n");
	if (r->original.len)
		add_field(b, "Original-Recipient", span_find(r->original, ';') > 0 ? "" : "rfc822;",
			  r->original);
	buf_add_str(b, "Final-Recipient: rfc822; ");
	add_text(b, r->final, MAIL_ADDR_MAX);
	buf_add_str(b, "\r\n");
	add_field(b, "Action", "", span_str(action_row[d->action].name));
	add_field(b, "Status", "",
		  status_valid(r->status) ? r->status : span_str(action_row[d->action].status));
	if (r->remote_mta.len) {
		buf_add_str(b, "Remote-MTA: dns; ");
		add_name(b, r->remote_mta, MAIL_DOMAIN_MAX, "_[]:");
		buf_add_str(b, "\r\n");
	}
	if (r->reply.len)
		add_field(b, "Diagnostic-Code", "smtp; ", r->reply);
	if (r->last_attempt.unix_s)
		add_date(b, "Last-Attempt-Date", r->last_attempt);
	if (r->retry_until.unix_s && d->action == MAIL_DSN_DELAYED)
		add_date(b, "Will-Retry-Until", r->retry_until);
}

static void write_status(struct buf *b, const struct mail_dsn *d)
{
	buf_add_str(b, "Content-Type: message/delivery-status\r\nContent-Description: Delivery "
		       "report\r\n\r\n");
	/* RFC 3464 2.2: the fields of the message, then an empty line before each recipient. */
	if (d->envid.len)
		add_field(b, "Original-Envelope-Id", "", d->envid);
	buf_add_str(b, "Reporting-MTA: dns; ");
	add_name(b, d->host, MAIL_DOMAIN_MAX, "_[]:");
	buf_add_str(b, "\r\n");
	if (d->arrival.unix_s)
		add_date(b, "Arrival-Date", d->arrival);
	for (uint32_t i = 0; i < d->n_rcpt; i++)
		write_rcpt(b, d, &d->rcpt[i]);
}

/*
 * One line of the original's header, cut where it would pass 998 bytes. A line of white space alone
 * is left out: it would read as the end of the header once its spaces are lost.
 */
static void write_line(struct buf *b, struct span s)
{
	while (s.len && mail_is_lws(s.p[s.len - 1]))
		s.len--;
	while (s.len) {
		add_text(b, s, 900);
		buf_add_str(b, "\r\n");
		s = span_from(s, 900);
		while (s.len && mail_is_lws(s.p[0]))
			s = span_from(s, 1);
		if (s.len)
			buf_add_u8(b, ' ');
	}
}

/* Whole fields, as many as the bound allows. No field name begins with "--": such a line might pass
 * for a delimiter. */
static void write_original(struct buf *b, struct span original)
{
	struct mail_header_iter it;
	struct mail_field f;

	buf_add_str(b, "Content-Type: text/rfc822-headers; charset=us-ascii\r\n"
		       "Content-Description: Header of the message\r\n\r\n");
	original = span_head(original, MAIL_DSN_HEADER_MAX);
	mail_header_begin(&it, original);
	while (mail_header_next(&it, &f)) {
		struct span s = span_of(original.p + f.off, f.len);

		if (f.name.len >= 2 && f.name.p[0] == '-' && f.name.p[1] == '-')
			continue;
		while (s.len) {
			ptrdiff_t lf = span_find(s, '\n');
			size_t n = lf < 0 ? s.len : (size_t)lf + 1;

			write_line(b, span_head(s, n));
			s = span_from(s, n);
		}
	}
}

/* Can it stand in the report as it is? */
static bool original_clean(struct span s)
{
	size_t col = 0;

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i];

		if (c == '\r' && i + 1 < s.len && s.p[i + 1] == '\n') {
			col = 0;
			i++;
			continue;
		}
		if ((c < ' ' && c != '\t') || c >= 0x7f || ++col > 998)
			return false;
		if (col == 1 && c == '-' && i + 3 < s.len && memcmp(s.p + i, "--=_", 4) == 0)
			return false;
	}
	return col == 0 && s.len > 0;
}

static void write_whole(struct buf *b, struct span original)
{
	buf_add_str(b, "Content-Type: message/rfc822\r\n"
		       "Content-Description: The message\r\n\r\n");
	buf_add_span(b, original);
}

void mail_dsn_write(struct buf *b, const struct mail_dsn *d)
{
	CHECK(d->action < ARRAY_LEN(action_row));
	write_header(b, d);
	write_delimiter(b, d, "");
	write_human(b, d);
	write_delimiter(b, d, "");
	write_status(b, d);
	write_delimiter(b, d, "");
	if (d->full && original_clean(d->original))
		write_whole(b, d->original);
	else
		write_original(b, d->original);
	write_delimiter(b, d, "--");
}
