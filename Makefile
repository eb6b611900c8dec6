# Targets are explained in README.md.
.PHONY: build
build: web/dist/index.html
	go build -trimpath -o bin/gateway ./cmd/gateway

web/dist/index.html: web/package-lock.json web/build.mjs $(wildcard web/src/*)
	npm --prefix web ci --no-fund --no-audit --loglevel=error
	npm --prefix web run --silent build
