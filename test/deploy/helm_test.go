package deploy

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

var chart = filepath.Join(folder, "helm/sealpost")

// least are the values that the chart cannot do without.
func least() map[string]any {
	return map[string]any{
		"settings":   map[string]any{"issuer": "https://login.example.com", "mail": map[string]any{"from": "Example <login@example.com>"}},
		"secretName": "sealpost",
	}
}

// render gives the rendered documents by kind.
func render(values map[string]any) (map[string][]string, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "sealpost", Namespace: "login"}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	byKind := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, document := range strings.Split(files[name], "\n---\n") {
			var head struct{ Kind string }
			if err := yaml.Unmarshal([]byte(document), &head); err != nil {
				return nil, err
			}
			if head.Kind != "" {
				byKind[head.Kind] = append(byKind[head.Kind], document)
			}
		}
	}
	return byKind, nil
}

// one decodes the one document of a kind; a field that the kind does not have is an error.
func one[T any](t *testing.T, kind string, rendered map[string][]string) (object T) {
	t.Helper()
	if len(rendered[kind]) != 1 {
		t.Fatalf("%d documents of kind %s", len(rendered[kind]), kind)
	}
	if err := yaml.UnmarshalStrict([]byte(rendered[kind][0]), &object); err != nil {
		t.Errorf("%s: %v\n%s", kind, err, rendered[kind][0])
	}
	return object
}

func TestHelmLint(t *testing.T) {
	for _, message := range lint.AllWithKubeVersion(chart, least(), "login", nil).Messages {
		if message.Severity >= support.WarningSev {
			t.Error(message)
		}
	}
}

func TestHelmChart(t *testing.T) {
	values := least()
	peers := []any{map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"name": "monitoring"}}}}
	values["serviceMonitor"] = map[string]any{"enabled": true, "labels": map[string]any{"release": "prometheus"}}
	values["networkPolicy"] = map[string]any{"metricsFrom": peers, "ingressFrom": peers}
	values["ingress"] = map[string]any{"className": "nginx", "annotations": map[string]any{"cert-manager.io/cluster-issuer": "letsencrypt"}}
	values["podAnnotations"] = map[string]any{"note": "x"}
	rendered, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	d := one[apps.Deployment](t, "Deployment", rendered)
	config := one[core.ConfigMap](t, "ConfigMap", rendered)
	service := one[core.Service](t, "Service", rendered)
	ingress := one[networking.Ingress](t, "Ingress", rendered)
	network := one[networking.NetworkPolicy](t, "NetworkPolicy", rendered)
	budget := one[policy.PodDisruptionBudget](t, "PodDisruptionBudget", rendered)
	monitor := one[monitoring.ServiceMonitor](t, "ServiceMonitor", rendered)
	if known := 7; len(rendered) != known {
		t.Errorf("kinds %v, and only %d of them were looked at", slices.Sorted(maps.Keys(rendered)), known)
	}

	pod := d.Spec.Template
	c := pod.Spec.Containers[0]
	if *d.Spec.Replicas != 2 || !*pod.Spec.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem ||
		*c.SecurityContext.AllowPrivilegeEscalation || *pod.Spec.AutomountServiceAccountToken {
		t.Error("two replicas, without root, privileges, a writable root or a token, are wanted")
	}
	for _, selector := range []map[string]string{d.Spec.Selector.MatchLabels, service.Spec.Selector, network.Spec.PodSelector.MatchLabels, budget.Spec.Selector.MatchLabels} {
		for name, value := range selector {
			if pod.Labels[name] != value {
				t.Errorf("a selector wants %s=%s, the pods have %v", name, value, pod.Labels)
			}
		}
	}
	if service.Labels["app.kubernetes.io/name"] != monitor.Spec.Selector.MatchLabels["app.kubernetes.io/name"] || monitor.Spec.Endpoints[0].Port != "metrics" {
		t.Error("the monitor does not find the service")
	}
	ports := map[string]int32{}
	for _, port := range c.Ports {
		ports[port.Name] = port.ContainerPort
	}
	for _, port := range service.Spec.Ports {
		if ports[port.TargetPort.String()] == 0 {
			t.Errorf("the service has a port %s, the container has %v", port.TargetPort.String(), ports)
		}
	}
	for _, probe := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if ports[probe.HTTPGet.Port.String()] != 9090 {
			t.Errorf("a probe asks %s", probe.HTTPGet.Port.String())
		}
	}
	if host := ingress.Spec.Rules[0].Host; host != "login.example.com" || ingress.Spec.TLS[0].Hosts[0] != host {
		t.Errorf("the ingress is for %s", host)
	}

	environ := readImage(t).env
	for _, variable := range c.Env {
		environ = append(environ, variable.Name+"="+variable.Value)
	}
	settings := install(t).takes(config.Data["sealpost.yaml"], environ...)
	says(t, settings, "issuer: https://login.example.com")
	says(t, settings, "listen: :8080")
	says(t, settings, "admin_listen: :9090")
	if want := []string{"serve", "--config", c.VolumeMounts[0].MountPath + "/sealpost.yaml"}; !slices.Equal(c.Args, want) {
		t.Errorf("runs %v, want %v", c.Args, want)
	}
}

func TestHelmSecrets(t *testing.T) {
	values := least()
	delete(values, "secretName")
	if _, err := render(values); err == nil || !strings.Contains(err.Error(), "sealpost secret") {
		t.Errorf("without a secret: %v", err)
	}
	values["secrets"] = map[string]any{"secret": "s", "database": "d", "mailUrl": "m"}
	rendered, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	secret, d := one[core.Secret](t, "Secret", rendered), one[apps.Deployment](t, "Deployment", rendered)
	if name := d.Spec.Template.Spec.Volumes[1].Secret.SecretName; name != secret.Name {
		t.Errorf("the pods read %s, the secret is %s", name, secret.Name)
	}
	for _, variable := range d.Spec.Template.Spec.Containers[0].Env {
		if key, ok := strings.CutPrefix(variable.Value, "/run/secrets/sealpost/"); ok && secret.StringData[key] == "" {
			t.Errorf("%s reads %s, which is not in the secret", variable.Name, key)
		}
	}
	for _, missing := range []string{"issuer", "mail"} {
		values := least()
		delete(values["settings"].(map[string]any), missing)
		if _, err := render(values); err == nil || !strings.Contains(err.Error(), "settings."+missing) {
			t.Errorf("without settings.%s: %v", missing, err)
		}
	}
}
