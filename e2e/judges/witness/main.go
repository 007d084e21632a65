// Command witness runs a litewitness with all it needs beside it: its key in an ssh-agent, the rows of the log it watches,
// and, where asked for, TLS in front.
//
//	witness -litewitness PROGRAM -dir DIR -name NAME -listen ADDRESS [-tls ADDRESS] -origin ORIGIN -vkey VKEY [-vkey VKEY]
//
// litewitness itself is the released program, unchanged. Its verifier key is printed first, then "ready". DIR keeps key and
// database, so that a witness can be stopped and come back; DIR/ca.pem is the authority of the TLS certificate. Everything
// ends when standard input does, so that no witness outlives the test that started it.
package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	_ "modernc.org/sqlite"
)

type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func main() {
	log.SetFlags(0)
	log.SetPrefix("witness: ")
	program := flag.String("litewitness", "litewitness", "the released program")
	dir := flag.String("dir", "", "where key and database are kept")
	name := flag.String("name", "", "name of the witness")
	listen := flag.String("listen", "", "address for plain HTTP")
	front := flag.String("tls", "", "address for HTTPS")
	origin := flag.String("origin", "", "origin of the log to watch")
	var vkeys list
	flag.Var(&vkeys, "vkey", "verifier key of the log; can be given several times")
	flag.Parse()
	if *dir == "" || *name == "" || *listen == "" {
		flag.Usage()
		os.Exit(2)
	}
	must(os.MkdirAll(*dir, 0o700))
	key := keep(filepath.Join(*dir, "key"))
	public := key.Public().(ed25519.PublicKey)
	fmt.Println("vkey", verifier(*name, public))

	// A socket's path is short: beside a deep test directory it would not fit.
	sockets, err := os.MkdirTemp("", "witness")
	must(err)
	defer os.RemoveAll(sockets)
	socket := filepath.Join(sockets, "agent")
	serveAgent(socket, key)

	sshKey, err := ssh.NewPublicKey(public)
	must(err)
	database := filepath.Join(*dir, "litewitness.db")
	child := exec.Command(*program, "-name", *name, "-db", database, "-ssh-agent", socket,
		"-listen", *listen, "-key", ssh.FingerprintSHA256(sshKey))
	child.Stderr = os.Stderr
	// Also when this process is killed. The signal is the starting thread's to send, so it stays with this one.
	runtime.LockOSThread()
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(child.Start())
	waitFor(*listen)
	if *origin != "" {
		watch(database, *origin, vkeys)
	}
	if *front != "" {
		serveTLS(*front, *listen, *dir)
	}
	fmt.Println("ready")

	ended := make(chan error, 2)
	go func() { ended <- child.Wait() }()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		ended <- nil
	}()
	err = <-ended
	child.Process.Kill()
	os.RemoveAll(sockets)
	if err != nil {
		log.Fatal("litewitness ended: ", err)
	}
}

// keep reads the key's seed, or makes one.
func keep(path string) ed25519.PrivateKey {
	seed, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		seed = make([]byte, ed25519.SeedSize)
		_, err = rand.Read(seed)
		must(err)
		err = os.WriteFile(path, seed, 0o600)
	}
	must(err)
	return ed25519.NewKeyFromSeed(seed)
}

// verifier is the key in the form of C2SP signed-note, type 04.
func verifier(name string, public ed25519.PublicKey) string {
	material := append([]byte{4}, public...)
	id := sha256.Sum256(append([]byte(name+"\n"), material...))
	return fmt.Sprintf("%s+%08x+%s", name, binary.BigEndian.Uint32(id[:4]), base64.StdEncoding.EncodeToString(material))
}

func serveAgent(socket string, key ed25519.PrivateKey) {
	ring := agent.NewKeyring()
	must(ring.Add(agent.AddedKey{PrivateKey: key}))
	listener, err := net.Listen("unix", socket)
	must(err)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, connection)
		}
	}()
}

// watch does what witnessctl does, which does not build: it inserts the rows.
func watch(path, origin string, vkeys []string) {
	database, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)")
	must(err)
	defer database.Close()
	empty := sha256.Sum256(nil)
	_, err = database.Exec("INSERT OR IGNORE INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)",
		origin, base64.StdEncoding.EncodeToString(empty[:]))
	must(err)
	for _, vkey := range vkeys {
		_, err = database.Exec("INSERT INTO key (origin, key) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM key WHERE origin = ? AND key = ?)",
			origin, vkey, origin, vkey)
		must(err)
	}
}

func waitFor(address string) {
	for range 100 {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			connection.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	log.Fatal("litewitness does not listen on ", address)
}

// authority reads the certificate authority in dir, or makes one.
func authority(dir string) (*x509.Certificate, *ecdsa.PrivateKey) {
	certificate, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	if _, err := os.Stat(secret); errors.Is(err, os.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		ca := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a witness's authority"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
		must(err)
		keyDER, err := x509.MarshalECPrivateKey(key)
		must(err)
		must(os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
		must(os.WriteFile(secret, keyDER, 0o600))
	}
	text, err := os.ReadFile(certificate)
	must(err)
	block, _ := pem.Decode(text)
	ca, err := x509.ParseCertificate(block.Bytes)
	must(err)
	keyDER, err := os.ReadFile(secret)
	must(err)
	key, err := x509.ParseECPrivateKey(keyDER)
	must(err)
	return ca, key
}

// serveTLS answers with a certificate of the authority in dir.
func serveTLS(front, back, dir string) {
	host, _, err := net.SplitHostPort(front)
	must(err)
	ca, caKey := authority(dir)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if address := net.ParseIP(host); address != nil {
		leaf.IPAddresses = []net.IP{address}
	} else {
		leaf.DNSNames = []string{host}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(err)
	listener, err := tls.Listen("tcp", front, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	})
	must(err)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: back})
	go http.Serve(listener, proxy)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
