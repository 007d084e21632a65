package main

// Keys, certificates and kubeconfigs of the test cluster. Everything is made anew for each cluster, lives a year and never
// leaves the machine's cache directory. ECDSA P-256 throughout: made in milliseconds.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const lifetime = 365 * 24 * time.Hour

// An identity is one certificate: who it names, and what it may be used for.
type identity struct {
	file   string
	user   string   // becomes the user name for RBAC
	groups []string // become its groups
	names  []string // DNS names it serves
	ips    []net.IP // addresses it serves
	// kubeconfig, when not empty, is the file that lets this identity talk to the API server.
	kubeconfig string
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func certs(arguments []string) error {
	flags := flag.NewFlagSet("certs", flag.ContinueOnError)
	directory := flags.String("dir", "", "where to write")
	address := flags.String("address", "", "address of the node and of the API server")
	service := flags.String("service", "", "cluster address of the kubernetes Service")
	node := flags.String("node", "", "name of the node")
	server := flags.String("server", "", "URL of the API server")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	host, cluster := net.ParseIP(*address), net.ParseIP(*service)
	if *directory == "" || *node == "" || *server == "" || host == nil || cluster == nil {
		return errors.New("--dir, --address, --service, --node and --server are all needed, the addresses as IP addresses")
	}
	if err := os.MkdirAll(*directory, 0o700); err != nil {
		return err
	}
	root, err := newAuthority("paramant-test-cluster")
	if err != nil {
		return err
	}
	if err := root.write(*directory, "ca"); err != nil {
		return err
	}
	// Aggregation has an authority of its own: its client certificates may claim any user.
	front, err := newAuthority("paramant-test-cluster-front-proxy")
	if err != nil {
		return err
	}
	if err := front.write(*directory, "front-proxy-ca"); err != nil {
		return err
	}
	if err := front.issue(*directory, identity{file: "front-proxy-client", user: "front-proxy-client"}, *server); err != nil {
		return err
	}
	loopback := net.IPv4(127, 0, 0, 1)
	for _, one := range []identity{
		{file: "apiserver", user: "kube-apiserver", ips: []net.IP{host, cluster, loopback}, names: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost",
		}},
		{file: "apiserver-kubelet-client", user: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{file: "kubelet-server", user: *node, ips: []net.IP{host}, names: []string{*node}},
		{file: "kubelet", user: "system:node:" + *node, groups: []string{"system:nodes"}, kubeconfig: "kubelet.kubeconfig"},
		{file: "controller-manager", user: "system:kube-controller-manager", kubeconfig: "controller-manager.kubeconfig"},
		{file: "scheduler", user: "system:kube-scheduler", kubeconfig: "scheduler.kubeconfig"},
		{file: "proxy", user: "system:kube-proxy", kubeconfig: "proxy.kubeconfig"},
		{file: "admin", user: "admin", groups: []string{"system:masters"}, kubeconfig: "admin.kubeconfig"},
	} {
		if err := root.issue(*directory, one, *server); err != nil {
			return fmt.Errorf("%s: %w", one.file, err)
		}
	}
	return serviceAccountKey(*directory)
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(pkix.Name{CommonName: name})
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

func (a *authority) write(directory, file string) error {
	key, err := keyPEM(a.key)
	if err != nil {
		return err
	}
	return writePair(directory, file, a.pem, key)
}

func (a *authority) issue(directory string, who identity, server string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := newTemplate(pkix.Name{CommonName: who.user, Organization: who.groups})
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(who.names)+len(who.ips) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.DNSNames, template.IPAddresses = who.names, who.ips
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private, err := keyPEM(key)
	if err != nil {
		return err
	}
	if who.kubeconfig != "" {
		content := kubeconfig(server, a.pem, certificate, private)
		if err := os.WriteFile(filepath.Join(directory, who.kubeconfig), content, 0o600); err != nil {
			return err
		}
	}
	return writePair(directory, who.file, certificate, private)
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	// An hour back, for a machine whose clock is set while the cluster starts.
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
	}, nil
}

// serviceAccountKey makes the key that signs the tokens of ServiceAccounts.
func serviceAccountKey(directory string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := keyPEM(key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(directory, "service-account.pub"), public, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "service-account.key"), private, 0o600)
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func writePair(directory, file string, certificate, key []byte) error {
	if err := os.WriteFile(filepath.Join(directory, file+".crt"), certificate, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, file+".key"), key, 0o600)
}

func kubeconfig(server string, authority, certificate, key []byte) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: paramant-test
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: paramant-test
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: paramant-test
  context: {cluster: paramant-test, user: paramant-test}
current-context: paramant-test
`, server, encode(authority), encode(certificate), encode(key))
}
