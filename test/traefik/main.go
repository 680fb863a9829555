// Command traefik stands for Traefik, which cannot be built from its module: the
// web interface is not in it. What reads the dynamic configuration, matches
// rules, sets X-Forwarded headers and asks before it passes on (ForwardAuth) is
// Traefik's own.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/traefik/paerser/file"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/middlewares/auth"
	"github.com/traefik/traefik/v3/pkg/middlewares/forwardedheaders"
	"github.com/traefik/traefik/v3/pkg/middlewares/requestdecorator"
	muxer "github.com/traefik/traefik/v3/pkg/muxer/http"
)

func main() {
	config := flag.String("file", "", "dynamic configuration, YAML")
	listen := flag.String("listen", "", "where to serve HTTPS")
	certificate := flag.String("certificate", "", "PEM file")
	key := flag.String("key", "", "PEM file")
	flag.Parse()
	handler, err := read(*config)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServeTLS(*listen, *certificate, *key, handler))
}

// read makes a handler of the routers of a file.
func read(name string) (http.Handler, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var c dynamic.Configuration
	if err := file.DecodeContent(string(text), ".yaml", &c); err != nil {
		return nil, err
	}
	parser, err := muxer.NewSyntaxParser()
	if err != nil {
		return nil, err
	}
	mux := muxer.NewMuxer(parser)
	for name, router := range c.HTTP.Routers {
		service := c.HTTP.Services[router.Service]
		if service == nil {
			return nil, fmt.Errorf("router %s: no service %s", name, router.Service)
		}
		to, err := url.Parse(service.LoadBalancer.Servers[0].URL)
		if err != nil {
			return nil, err
		}
		var handler http.Handler = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Uri"} {
				r.Out.Header[name] = r.In.Header[name]
			}
		}}
		for i := len(router.Middlewares) - 1; i >= 0; i-- {
			name := router.Middlewares[i]
			middleware := c.HTTP.Middlewares[name]
			if middleware == nil || middleware.ForwardAuth == nil {
				return nil, fmt.Errorf("middleware %s is not there, or no forwardAuth", name)
			}
			if handler, err = auth.NewForward(context.Background(), handler, *middleware.ForwardAuth, name); err != nil {
				return nil, err
			}
		}
		if err := mux.AddRoute(router.Rule, "v3", muxer.GetRulePriority(router.Rule), handler); err != nil {
			return nil, err
		}
	}
	decorated := requestdecorator.New(nil)
	return forwardedheaders.NewXForwarded(false, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { decorated.ServeHTTP(w, r, mux.ServeHTTP) }))
}
