# What a target needs and is not there, .ci/need installs or names. CHROMIUM=path says where a Chrome is.

PORT       ?= 8080
TOKEN_LIFE ?= 15m
# Tries, not a time: where a time ends, go test itself now and then fails with "context deadline
# exceeded" (internal/fuzz compares with a context that ends a moment later).
FUZZTIME   ?= 200000x
SOAKTIME   ?= 3m

STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.1
NPM_CI      = npm ci --no-audit --no-fund --loglevel=error
GO_FILES    = $(shell find . -name node_modules -prune -o -name '*.go' -print)
JS_FILES    = $(wildcard client/*.js client/test/*.mjs e2e/*.mjs examples/*/static/*.js bench/peer/*.js bench/peer4/*.js redisadapter/peer/*.js)

# What the tests start.
TEST_TOOLS = go cc node npm redis-server chromium nginx haproxy

.PHONY: help demo demo-cluster tools-demo tools-cluster tools-test test test-quick test-go test-compat test-redisadapter test-examples test-client test-e2e lint bench bench-once fuzz soak

help:
	@echo 'make demo          start the chat example; PORT=8081 chooses the port, TOKEN_LIFE=20s a short login'
	@echo 'make demo-cluster  two nodes of the cluster example on PORT and PORT+1, and a Redis on PORT+2'
	@echo 'make test          run every test: Go, both go-socket.io versions, examples, the client, real clients, a browser'
	@echo 'make test-quick    what one runs while working, under a minute: the Go tests without -race, -short'
	@echo 'make lint          gofmt, go vet, staticcheck; links and code in the documentation'
	@echo 'make bench         run the Go benchmarks, and compare with go-socket.io alone and with other servers'
	@echo 'make fuzz          run each fuzz target for FUZZTIME tries (200000x)'
	@echo 'make soak          honest clients chat in a storm of hostile ones, for SOAKTIME (3m)'

demo: tools-demo examples/chat/node_modules/.package-lock.json
	@cd examples && go build -o ../bin/chat ./chat
	@exec bin/chat -addr 127.0.0.1:$(PORT) -token-life $(TOKEN_LIFE) -client examples/chat/node_modules/socket.io-client/dist

demo-cluster: tools-cluster examples/cluster/node_modules/.package-lock.json
	@exec examples/cluster/demo.sh $(PORT)

%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	@cd $* && $(NPM_CI)
	@touch $@

tools-demo:
	@.ci/need go node npm

tools-cluster:
	@.ci/need go node npm redis-server redis-cli

tools-test:
	@.ci/need $(TEST_TOOLS)

test: tools-test
	@for part in test-go test-compat test-redisadapter test-examples test-client test-e2e; do \
	  began=$$(date +%s); echo "== make $$part"; \
	  $(MAKE) --no-print-directory $$part || exit 1; \
	  echo "== make $$part: $$(($$(date +%s) - began)) s"; \
	done

# Four packages at once: they wait more than they compute.
test-quick:
	@.ci/need go redis-server
	go test -short -p 4 ./...

test-go:
	go test -race ./...

test-compat:
	go test -race -modfile=compat/go-socket.io-1.8/go.mod ./...

test-redisadapter: redisadapter/peer/node_modules/.package-lock.json
	cd redisadapter && go test -race ./...

test-examples:
	cd examples && go vet ./... && go test -race ./...
	cd examples/tracing && go vet ./... && go test -race ./...

test-client:
	cd client && $(NPM_CI) && npm test --silent

test-e2e:
	cd e2e/goclient && go test -race ./...
	cd e2e && $(NPM_CI) && node --test --test-reporter=spec
	cd e2e && GOFLAGS=-modfile=../compat/go-socket.io-1.8/e2e/go.mod node --test --test-reporter=spec today.test.mjs

lint:
	@unformatted=$$(gofmt -l $(GO_FILES)); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	@for file in $(JS_FILES); do node --check $$file || exit 1; done
	cd examples && go test -count=1 ./internal/docs
	@set -e; for module in . redisadapter examples examples/tracing e2e e2e/goclient bench bench/gopeer; do \
	  echo "lint $$module"; \
	  (cd $$module && go vet -tags soak ./... && $(STATICCHECK) -tags soak ./...); \
	done

PEERS = bench/peer/node_modules/.package-lock.json bench/peer4/node_modules/.package-lock.json

bench: $(PEERS)
	cd bench && go run . -chart ../docs/performance.svg

# The same, once: so that it cannot rot.
bench-once: $(PEERS)
	cd bench && go test ./... && go run . -once

fuzz:
	@set -e; found=0; \
	for module in . redisadapter; do \
	  for package in $$(cd $$module && go list ./...); do \
	    list=$$(cd $$module && go test -list '^Fuzz' $$package); \
	    for target in $$(printf '%s\n' "$$list" | grep '^Fuzz'); do \
	      found=1; echo "fuzz $$package $$target"; \
	      (cd $$module && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package); \
	    done; \
	  done; \
	done; \
	if [ $$found = 0 ]; then echo 'no fuzz target found'; exit 1; fi

soak:
	SOAKTIME=$(SOAKTIME) go test -tags soak -run '^TestSoak$$' -count=1 -timeout=0 -v ./internal/attacks
