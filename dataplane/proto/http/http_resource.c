/*
 * http_resource.c: what can be asked for: a row and a function each. A path is compared as it was sent: case matters and
 * percent-encoding is not undone.
 */
#include "http_int.h"

/* For load balancers: is mail taken here? Says no as soon as new mail would be answered 4xx. */
static void get_health(struct http_session *hs)
{
	const struct proto_env *env = hs->s.env;
	struct store_stats st;
	store_stats(env->store_shared, &st);
	const char *why = env->shutting_down ? "shutting down\n"
			  : env->low_memory  ? "low on packet memory\n"
			  : st.failed        ? "store failed\n"
			  : st.full          ? "store full\n"
					     : NULL;
	http_answer(hs, why ? 503 : 200, why ? why : "ok\n");
}

static const struct http_resource resources[] = {
	{"/health", HTTP_METHOD(HTTP_GET) | HTTP_METHOD(HTTP_HEAD), get_health},
};

const struct http_resource *http_resource_find(struct span path)
{
	for (size_t i = 0; i < ARRAY_LEN(resources); i++)
		if (span_eq(path, span_str(resources[i].path)))
			return &resources[i];
	return NULL;
}
