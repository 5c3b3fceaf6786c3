/*
 * Spans of what Node serves and calls: the native side of companion/spans.cjs. Only where TRACESHIM_EXPORT says traces.
 */
#ifndef TRACESHIM_NODE_SPANS_H
#define TRACESHIM_NODE_SPANS_H

#include "napi.h"

/*
 * Add to the add-on's functions, for this thread's environment: spanWords, an array of numbers of both sides, and
 * span(), calling(), adopt() and peer(). Where that fails none is there, and the companion makes no spans.
 */
void node_spans_register(napi_env env, napi_value exports);

/* The thread's environment ends. Harmless where it has none. */
void node_spans_end(void);

#endif
