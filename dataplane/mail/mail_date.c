/*
 * mail_date.c: the dates of RFC 5322 3.3 and 4.3, of IMAP (RFC 3501 9) and RFC 3339; see
 * mail_header.h. The calendar is counted here: no clock and no time zone of the machine is ever
 * asked.
 */
#include "mail_header.h"
#include "check.h"
#include "mail_int.h"

static const char month_name[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_name[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

/* RFC 5322 4.3; all other names say nothing and count as UTC. */
static const struct {
	char name[4];
	int32_t min;
} zone_name[] = {
	{"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300},
	{"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420},
};

struct calendar {
	int64_t year;
	uint32_t month, day; /* from 1 */
	uint32_t hour, min, sec;
};

/* Days since 1970-01-01 in the Gregorian calendar, counted in eras of 400 years from March 1. */
static int64_t days_of(int64_t y, uint32_t m, uint32_t d)
{
	int64_t era;
	uint32_t yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = (uint32_t)(y - era * 400);
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void calendar_of(int64_t days, struct calendar *c)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	uint32_t doe = (uint32_t)(z - era * 146097);
	uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	uint32_t mp = (5 * doy + 2) / 153;

	c->day = doy - (153 * mp + 2) / 5 + 1;
	c->month = mp < 10 ? mp + 3 : mp - 9;
	c->year = yoe + era * 400 + (c->month <= 2);
}

static bool calendar_valid(const struct calendar *c)
{
	static const uint8_t days[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;

	if (c->month < 1 || c->month > 12 || c->day < 1 || c->day > days[c->month - 1])
		return false;
	if (c->month == 2 && c->day == 29 && !leap)
		return false;
	return c->hour < 24 && c->min < 60 && c->sec <= 60;
}

static struct mail_date date_of(const struct calendar *c, int32_t zone_min)
{
	int64_t s =
		days_of(c->year, c->month, c->day) * 86400 + c->hour * 3600 + c->min * 60 + c->sec;

	return (struct mail_date){s - zone_min * 60, zone_min};
}

/* ---- reading ---- */

struct cursor {
	const uint8_t *p, *end;
};

static int peek(const struct cursor *c)
{
	return c->p < c->end ? *c->p : -1;
}

static bool skip_byte(struct cursor *c, char b)
{
	if (peek(c) != b)
		return false;
	c->p++;
	return true;
}

static void skip_cfws(struct cursor *c)
{
	size_t depth = 0;

	for (; c->p < c->end; c->p++) {
		if (*c->p == '(')
			depth++;
		else if (*c->p == ')' && depth)
			depth--;
		else if (*c->p == '\\' && depth && c->p + 1 < c->end)
			c->p++;
		else if (!depth && !mail_is_lws(*c->p))
			break;
	}
}

/* A number of least..most digits; most <= 9. */
static bool number(struct cursor *c, size_t least, size_t most, uint32_t *out)
{
	size_t n = 0;

	*out = 0;
	while (n < most && c->p < c->end && *c->p >= '0' && *c->p <= '9') {
		*out = *out * 10 + (*c->p++ - '0');
		n++;
	}
	return n >= least;
}

static struct span letters(struct cursor *c)
{
	const uint8_t *from = c->p;

	while (c->p < c->end && ascii_lower(*c->p) >= 'a' && ascii_lower(*c->p) <= 'z')
		c->p++;
	return span_of(from, (size_t)(c->p - from));
}

static bool month(struct cursor *c, uint32_t *out)
{
	struct span name = letters(c);

	if (name.len < 3)
		return false;
	for (uint32_t i = 0; i < 12; i++) {
		if (span_ieq(span_head(name, 3), span_of(month_name[i], 3))) {
			*out = i + 1;
			return true;
		}
	}
	return false;
}

/* "+0130", a name, or nothing. */
static bool zone(struct cursor *c, int32_t *min)
{
	uint32_t hhmm;
	struct span name;

	*min = 0;
	if (peek(c) == '+' || peek(c) == '-') {
		bool west = *c->p++ == '-';

		if (!number(c, 4, 4, &hhmm) || hhmm % 100 >= 60)
			return false;
		*min = (int32_t)(hhmm / 100 * 60 + hhmm % 100);
		if (west)
			*min = -*min;
		return true;
	}
	name = letters(c);
	for (size_t i = 0; i < ARRAY_LEN(zone_name); i++) {
		if (span_ieq(name, span_of(zone_name[i].name, 3)))
			*min = zone_name[i].min;
	}
	return true;
}

/* RFC 5322 4.3: two digits below 50 are 20xx, other two and all three are 19xx. */
static bool year(struct cursor *c, int64_t *out)
{
	const uint8_t *from = c->p;
	uint32_t y;

	if (!number(c, 2, 4, &y))
		return false;
	*out = y;
	if (c->p - from == 2)
		*out += y < 50 ? 2000 : 1900;
	else if (c->p - from == 3)
		*out += 1900;
	return true;
}

enum err mail_date_parse(struct span s, struct mail_date *out)
{
	struct cursor c = {s.p, s.p + s.len};
	struct calendar cal = {0};
	int32_t zone_min = 0;

	*out = (struct mail_date){0};
	skip_cfws(&c);
	if (letters(&c).len) {
		skip_cfws(&c);
		skip_byte(&c, ',');
		skip_cfws(&c);
	}
	if (!number(&c, 1, 2, &cal.day))
		return ERR_SYNTAX;
	skip_cfws(&c);
	skip_byte(&c, '-');
	if (!month(&c, &cal.month))
		return ERR_SYNTAX;
	skip_cfws(&c);
	skip_byte(&c, '-');
	if (!year(&c, &cal.year))
		return ERR_SYNTAX;
	skip_cfws(&c);
	if (number(&c, 1, 2, &cal.hour)) {
		skip_cfws(&c);
		if (!skip_byte(&c, ':'))
			return ERR_SYNTAX;
		skip_cfws(&c);
		if (!number(&c, 1, 2, &cal.min))
			return ERR_SYNTAX;
		skip_cfws(&c);
		if (skip_byte(&c, ':')) {
			skip_cfws(&c);
			if (!number(&c, 1, 2, &cal.sec))
				return ERR_SYNTAX;
			skip_cfws(&c);
		}
		if (!zone(&c, &zone_min))
			return ERR_SYNTAX;
	}
	if (!calendar_valid(&cal))
		return ERR_SYNTAX;
	*out = date_of(&cal, zone_min);
	return ERR_OK;
}

static struct cursor unquoted(struct span s)
{
	if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"')
		s = span_of(s.p + 1, s.len - 2);
	return (struct cursor){s.p, s.p + s.len};
}

/* dd-mmm-yyyy; the day may have one digit, or a space before it. */
static bool imap_date(struct cursor *c, struct calendar *cal)
{
	skip_byte(c, ' ');
	if (!number(c, 1, 2, &cal->day) || !skip_byte(c, '-') || !month(c, &cal->month) ||
	    !skip_byte(c, '-'))
		return false;
	if (!number(c, 4, 4, &cal->hour))
		return false;
	cal->year = cal->hour;
	cal->hour = 0;
	return true;
}

enum err mail_date_internal_parse(struct span s, struct mail_date *out)
{
	struct cursor c = unquoted(s);
	struct calendar cal = {0};
	int32_t zone_min;

	*out = (struct mail_date){0};
	if (!imap_date(&c, &cal) || !skip_byte(&c, ' ') || !number(&c, 2, 2, &cal.hour) ||
	    !skip_byte(&c, ':') || !number(&c, 2, 2, &cal.min) || !skip_byte(&c, ':') ||
	    !number(&c, 2, 2, &cal.sec) || !skip_byte(&c, ' ') ||
	    (peek(&c) != '+' && peek(&c) != '-') || !zone(&c, &zone_min) || c.p != c.end ||
	    !calendar_valid(&cal))
		return ERR_SYNTAX;
	*out = date_of(&cal, zone_min);
	return ERR_OK;
}

enum err mail_date_day_parse(struct span s, int64_t *day)
{
	struct cursor c = unquoted(s);
	struct calendar cal = {0};

	*day = 0;
	if (!imap_date(&c, &cal) || c.p != c.end || !calendar_valid(&cal))
		return ERR_SYNTAX;
	*day = days_of(cal.year, cal.month, cal.day);
	return ERR_OK;
}

/* ---- writing ---- */

#define ZONE_MAX_MIN (99 * 60 + 59)
#define UNIX_S_MIN   (-62135596800 + 86400 * 5) /* so that the year has four digits in every zone */
#define UNIX_S_MAX   (253402300799 - 86400 * 5)

/* What a formatter needs, from a date brought into range. */
struct parts {
	struct calendar c;
	uint32_t weekday, zone_h, zone_m;
	char sign;
};

static int64_t floor_days(int64_t s)
{
	return (s >= 0 ? s : s - 86399) / 86400;
}

static struct parts parts_of(struct mail_date d)
{
	struct parts p;
	uint32_t zone_abs, s;
	int64_t local, days;

	if (d.zone_min > ZONE_MAX_MIN || d.zone_min < -ZONE_MAX_MIN)
		d.zone_min = 0;
	if (d.unix_s > UNIX_S_MAX)
		d.unix_s = UNIX_S_MAX;
	if (d.unix_s < UNIX_S_MIN)
		d.unix_s = UNIX_S_MIN;
	local = d.unix_s + d.zone_min * 60;
	days = floor_days(local);
	s = (uint32_t)(local - days * 86400);
	calendar_of(days, &p.c);
	p.c.hour = s / 3600;
	p.c.min = s / 60 % 60;
	p.c.sec = s % 60;
	p.weekday = (uint32_t)((days % 7 + 11) % 7);
	p.sign = d.zone_min < 0 ? '-' : '+';
	zone_abs = (uint32_t)(d.zone_min < 0 ? -d.zone_min : d.zone_min);
	p.zone_h = zone_abs / 60;
	p.zone_m = zone_abs % 60;
	return p;
}

static size_t two(char *dst, uint32_t v)
{
	dst[0] = (char)('0' + v / 10 % 10);
	dst[1] = (char)('0' + v % 10);
	return 2;
}

/* Runs a picture: a letter stands for a part, anything else for itself. */
static size_t format(const char *picture, const struct parts *p, char *dst)
{
	size_t n = 0;

	for (; *picture; picture++) {
		switch (*picture) {
		case 'W':
			memcpy(dst + n, day_name[p->weekday], 3);
			n += 3;
			break;
		case 'N':
			memcpy(dst + n, month_name[p->c.month - 1], 3);
			n += 3;
			break;
		case 'Y':
			n += two(dst + n, (uint32_t)p->c.year / 100);
			n += two(dst + n, (uint32_t)p->c.year % 100);
			break;
		case 'D':
		case 'E':
			n += two(dst + n, p->c.day);
			if (*picture == 'E' && p->c.day < 10)
				dst[n - 2] = ' ';
			break;
		case 'O':
			n += two(dst + n, p->c.month);
			break;
		case 'H':
			n += two(dst + n, p->c.hour);
			break;
		case 'M':
			n += two(dst + n, p->c.min);
			break;
		case 'S':
			n += two(dst + n, p->c.sec);
			break;
		case 'Z':
			dst[n++] = p->sign;
			n += two(dst + n, p->zone_h);
			break;
		case 'z':
			n += two(dst + n, p->zone_m);
			break;
		default:
			dst[n++] = *picture;
		}
	}
	dst[n] = 0;
	return n;
}

size_t mail_date_rfc5322(struct mail_date d, char *dst)
{
	struct parts p = parts_of(d);

	return format("W, D N Y H:M:S Zz", &p, dst);
}

size_t mail_date_internal(struct mail_date d, char *dst)
{
	struct parts p = parts_of(d);

	return format("E-N-Y H:M:S Zz", &p, dst);
}

size_t mail_date_iso8601(struct mail_date d, char *dst)
{
	struct parts p = parts_of(d);

	/* 'T' and 'Z' of the format itself: only 'Z' is a picture letter, so UTC puts its own
	 * behind. */
	if (p.zone_h == 0 && p.zone_m == 0) {
		size_t n = format("Y-O-DTH:M:S", &p, dst);

		dst[n++] = 'Z';
		dst[n] = 0;
		return n;
	}
	return format("Y-O-DTH:M:SZ:z", &p, dst);
}

int64_t mail_date_day(struct mail_date d)
{
	return floor_days(d.unix_s + d.zone_min * 60);
}
