/* Parses documents with expat and prints what it saw, for comparison.
 *
 * stdin:  documents, each a 32-bit big-endian length and that many bytes.
 * stdout: for each document a 32-bit big-endian length and that many bytes:
 *   'A' accepted or 'R' refused, then
 *   flags, letters closed by '\n':
 *     c comment  p processing instruction  d document type  e other encoding than UTF-8  v version not 1.x
 *     t text that is not white space, or CDATA, directly under the root
 *   and the events up to the end or the error, in bytes that XML does not allow in documents:
 *     \2 name            start tag; name is namespace \1 local name, or only the local name
 *     \3 name \4 value   attribute of it
 *     \5 text            character data
 *     \6                 end tag
 */
#include <expat.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *out;
static size_t used, room;
static int depth;
static char flags[128];

static void put(const char *p, size_t n) {
	if (used + n > room) {
		room = 2 * (used + n);
		out = realloc(out, room);
		if (out == NULL)
			exit(2);
	}
	memcpy(out + used, p, n);
	used += n;
}

static void mark(char c, const char *p, size_t n) {
	put(&c, 1);
	put(p, n);
}

static void on_start(void *u, const XML_Char *name, const XML_Char **attrs) {
	(void)u;
	depth++;
	mark('\2', name, strlen(name));
	for (; attrs[0] != NULL; attrs += 2) {
		mark('\3', attrs[0], strlen(attrs[0]));
		mark('\4', attrs[1], strlen(attrs[1]));
	}
}

static void on_end(void *u, const XML_Char *name) {
	(void)u, (void)name;
	depth--;
	mark('\6', "", 0);
}

static void on_text(void *u, const XML_Char *s, int n) {
	(void)u;
	if (depth == 1)
		for (int i = 0; i < n; i++)
			if (strchr(" \t\r\n", s[i]) == NULL)
				flags['t'] = 1;
	mark('\5', s, n);
}

static void on_cdata(void *u) {
	(void)u;
	if (depth == 1)
		flags['t'] = 1;
}

static void on_comment(void *u, const XML_Char *s) {
	(void)u, (void)s;
	flags['c'] = 1;
}

static void on_instruction(void *u, const XML_Char *target, const XML_Char *data) {
	(void)u, (void)target, (void)data;
	flags['p'] = 1;
}

static void on_doctype(void *u, const XML_Char *n, const XML_Char *s, const XML_Char *p, int internal) {
	(void)u, (void)n, (void)s, (void)p, (void)internal;
	flags['d'] = 1;
}

static void on_declaration(void *u, const XML_Char *version, const XML_Char *encoding, int standalone) {
	(void)u, (void)standalone;
	if (encoding != NULL && strcasecmp(encoding, "UTF-8") != 0)
		flags['e'] = 1;
	if (version == NULL || strncmp(version, "1.", 2) != 0 || version[2] == 0 || version[2 + strspn(version + 2, "0123456789")] != 0)
		flags['v'] = 1;
}

static int read_length(uint32_t *n) {
	unsigned char b[4];
	if (fread(b, 1, 4, stdin) != 4)
		return 0;
	*n = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	return 1;
}

static void write_length(uint32_t n) {
	unsigned char b[4] = {n >> 24, n >> 16, n >> 8, n};
	fwrite(b, 1, 4, stdout);
}

int main(void) {
	uint32_t n;
	while (read_length(&n)) {
		char *doc = malloc(n + 1);
		if (doc == NULL || fread(doc, 1, n, stdin) != n)
			return 2;
		used = 0;
		depth = 0;
		memset(flags, 0, sizeof flags);

		XML_Parser p = XML_ParserCreateNS(NULL, '\1');
		XML_SetElementHandler(p, on_start, on_end);
		XML_SetCharacterDataHandler(p, on_text);
		XML_SetStartCdataSectionHandler(p, on_cdata);
		XML_SetCommentHandler(p, on_comment);
		XML_SetProcessingInstructionHandler(p, on_instruction);
		XML_SetStartDoctypeDeclHandler(p, on_doctype);
		XML_SetXmlDeclHandler(p, on_declaration);
		int ok = XML_Parse(p, doc, n, 1) == XML_STATUS_OK;
		XML_ParserFree(p);
		free(doc);

		char head[10];
		int h = 0;
		head[h++] = ok ? 'A' : 'R';
		for (const char *f = "cpdevt"; *f != 0; f++)
			if (flags[(int)*f])
				head[h++] = *f;
		head[h++] = '\n';
		write_length(h + used);
		fwrite(head, 1, h, stdout);
		fwrite(out, 1, used, stdout);
		fflush(stdout);
	}
	free(out);
	return 0;
}
