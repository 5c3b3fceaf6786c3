/*
 * The add-on: the functions that JavaScript calls. Node only; see node.c.
 */
#ifndef TRACESHIM_NODE_ADDON_H
#define TRACESHIM_NODE_ADDON_H

#include <stdbool.h>

#include "napi.h"

/* Node-API's functions, all or none. */
struct napi_functions {
#define X(result, name, parameters) result(*name) parameters;
	NAPI_FUNCTIONS(X)
#undef X
};
extern struct napi_functions napi;

/* Find them. false: this Node lacks one. */
bool node_addon_bind(void);

/* Node asks for the add-on's functions, once per environment (main thread, each worker). */
napi_value node_addon_register(napi_env env, napi_value exports);

#endif
