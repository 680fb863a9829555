# make test              sets up what the tests need and passes them
# make test-integration  the same, for relying parties that others have made
# make race              what serves, all of it under the race detector
# make check             what CI runs: format, vet, staticcheck, generated files, tests

.PHONY: build release test race test-integration setup-integration check lint generate test-recipes-traefik screenshots defences bench grow soak fuzz corpus vuln

build: ## the binary, bin/sealpost
	CGO_ENABLED=0 go build -trimpath -o bin/sealpost ./cmd/sealpost

release: ## dist/, the archives of VERSION=v0.1.0, the same bytes for everyone who builds that commit
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) go run ./deploy/release -version "$(VERSION)" -out dist

# The race detector watches what works for many at once, and the server of
# test/e2e. It makes SQLite five times as slow: make race has all of it.
watched = ./keys ./migrations ./storage/...
racing = AtOnce|Notices|Once|Race|Replay|Stop|Follow|Parallel
test: bin/oauth2-proxy
	./test/setup.sh
	{ CGO_ENABLED=1 go test -race -json -timeout 12m $(watched); \
	CGO_ENABLED=1 go test -race -json -timeout 12m -run '$(racing)' ./provider ./cmd/sealpost ./templates; \
	CGO_ENABLED=1 go test -race -json -timeout 12m -run '$(racing)|Mail|Server|Outcome|Connection|Retry|Lease|Claim|Replicas' ./login; \
	go test -json -timeout 12m $$(go list ./... | grep -Ev '/(keys|migrations|storage)(/|$$)'); } | go run ./test/report

race: bin/oauth2-proxy ## everything that serves, under the race detector
	./test/setup.sh
	CGO_ENABLED=1 go test -race -timeout 60m $$(go list ./... | grep -Ev '/(docs|deploy|test)(/|$$)')

test-integration: test/integration/node/node_modules/.package-lock.json bin/caddy bin/oauth2-proxy | setup-integration
	CGO_ENABLED=1 go test -tags integration -count 1 -json -timeout 10m ./test/integration | go run ./test/report
	go test -tags integration -count 1 -timeout 12m -run Accessibility ./templates
	cd test/deploy && go test -count 1 -timeout 6m ./...
	go test -tags integration -count 1 -timeout 6m ./deploy/...

setup-integration:
	./test/setup.sh integration

# Node.js libraries, by their lock file.
test/integration/node/node_modules/.package-lock.json: test/integration/node/package-lock.json | setup-integration
	cd test/integration/node && npm ci --ignore-scripts --no-audit --no-fund

check: lint test test-integration

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted; exit 1; fi
	go mod tidy -diff
	go vet -tags screenshots,integration,defences,failpoints ./...
	cd test/deploy && go mod tidy -diff && go vet ./...
	go tool staticcheck -tags screenshots,integration,defences,failpoints ./...

generate: ## docs/settings.md and its schema, from the comments in config.go; docs/commands.md, from the command line
	go generate ./...

# The real relying party of the tests, from a module of its own: its
# dependencies are not ours.
bin/oauth2-proxy: test/oauth2proxy/go.mod test/oauth2proxy/go.sum
	cd test/oauth2proxy && CGO_ENABLED=0 go build -o ../../bin/oauth2-proxy github.com/oauth2-proxy/oauth2-proxy/v7

# What stands in front of Sealpost in deploy/, likewise.
bin/caddy: test/caddy/go.mod test/caddy/go.sum
	cd test/caddy && CGO_ENABLED=0 go build -o ../../bin/caddy github.com/caddyserver/caddy/v2/cmd/caddy

test-recipes-traefik: bin/traefik ## its recipe in docs/integrations; a quarter of an hour when nothing is built yet
	go test -tags integration,traefik -count 1 -run Traefik ./test/integration

bin/traefik: test/traefik/main.go test/traefik/go.mod test/traefik/go.sum
	cd test/traefik && go build -o ../../bin/traefik .

screenshots: ## every page and mail, into test/screenshots; PAGES=sent,mail LANGS=de,ar for some
	./test/setup.sh screenshots
	go test -tags screenshots -run TestScreenshots -count 1 -timeout 60m ./templates

defences: ## each defence taken out, to see that the tests notice; half an hour
	go test -tags defences -run TestMutants -count 1 -timeout 90m -v ./test/defences

bench: build ## whole logins, by turns with the least that a provider has to do; ARGS="-engines sqlite -only login"
	cd test/load && go build -o ../../bin/load . && ../../bin/load -binary ../../bin/sealpost $(ARGS)

grow: build ## the same with ten thousand people, a hundred thousand, a million; ARGS="-engine postgres -people 10000,10000000"
	cd test/load && go build -o ../../bin/load . && ../../bin/load grow -binary ../../bin/sealpost $(ARGS)

soak: build ## half an hour of people, restarts, kills and a mail server that refuses; ARGS="-engine postgres -for 5m"
	cd test/load && go build -o ../../bin/load . && ../../bin/load soak -binary ../../bin/sealpost $(ARGS)

FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

corpus: ## what fuzzing found here, into testdata/fuzz
	./test/corpus.sh

vuln: ## known vulnerabilities; needs the network
	go run golang.org/x/vuln/cmd/govulncheck@latest ./...
