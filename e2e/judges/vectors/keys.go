package main

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"filippo.io/mldsa"
)

const identifier = "paramant.app/note/ml-dsa-65/v1"

// algorithm is a row of the table in section 8.2.
type algorithm struct {
	name string
	typ  []byte
}

var (
	typeEd25519   = algorithm{"Ed25519", []byte{0x01}}
	typeCosigner  = algorithm{"Ed25519 cosignature", []byte{0x04}}
	typeMLDSA44   = algorithm{"ML-DSA-44", []byte{0x06}}
	typeMLDSA65   = algorithm{"ML-DSA-65", append([]byte{0xff}, identifier...)}
	allAlgorithms = []algorithm{typeEd25519, typeCosigner, typeMLDSA44, typeMLDSA65}
)

// key is a signing key made from a seed.
type key struct {
	verifier
	seed hash
	sign func(message []byte) []byte
}

// verifier is the public side.
type verifier struct {
	name      string
	algorithm algorithm
	public    []byte
	verify    func(message, signature []byte) bool
}

func newKey(name string, algorithm algorithm, seed hash) key {
	switch algorithm.name {
	case typeEd25519.name, typeCosigner.name:
		private := ed25519.NewKeyFromSeed(seed[:])
		public := must(newVerifier(name, algorithm, private.Public().(ed25519.PublicKey)))
		return key{public, seed, func(message []byte) []byte { return ed25519.Sign(private, message) }}
	default:
		private := must(mldsa.NewPrivateKey(parameters(algorithm), seed[:]))
		public := must(newVerifier(name, algorithm, private.PublicKey().Bytes()))
		return key{public, seed, func(message []byte) []byte { return must(private.SignDeterministic(message, nil)) }}
	}
}

func parameters(algorithm algorithm) *mldsa.Parameters {
	if algorithm.name == typeMLDSA44.name {
		return mldsa.MLDSA44()
	}
	return mldsa.MLDSA65()
}

func newVerifier(name string, algorithm algorithm, public []byte) (verifier, error) {
	if !isKeyName(name) {
		return verifier{}, errors.New("not a key name")
	}
	switch algorithm.name {
	case typeEd25519.name, typeCosigner.name:
		if len(public) != ed25519.PublicKeySize {
			return verifier{}, errors.New("not an Ed25519 key")
		}
		return verifier{name, algorithm, public, func(message, signature []byte) bool {
			return ed25519.Verify(public, message, signature)
		}}, nil
	default:
		parsed, err := mldsa.NewPublicKey(parameters(algorithm), public)
		if err != nil {
			return verifier{}, err
		}
		return verifier{name, algorithm, public, func(message, signature []byte) bool {
			return mldsa.Verify(parsed, message, signature, nil) == nil
		}}, nil
	}
}

func isKeyName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) || c == '+' })
}

func (v verifier) material() []byte { return join(v.algorithm.typ, v.public) }

func (v verifier) id() uint32 {
	digest := h256([]byte(v.name), []byte("\n"), v.material())
	return binary.BigEndian.Uint32(digest[:4])
}

func (v verifier) vkey() string { return fmt.Sprintf("%s+%08x+%s", v.name, v.id(), b64(v.material())) }

var keyID = regexp.MustCompile(`^[0-9a-f]{8}$`)

// readVkey is section 8.2 backwards.
func readVkey(text string) (verifier, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 || !keyID.MatchString(parts[1]) {
		return verifier{}, errors.New("not name+keyid+base64")
	}
	material, err := unB64(parts[2])
	if err != nil || strings.ContainsAny(parts[2], "\r\n") {
		return verifier{}, errors.New("not base64")
	}
	for _, algorithm := range allAlgorithms {
		public, is := strings.CutPrefix(string(material), string(algorithm.typ))
		if !is {
			continue
		}
		v, err := newVerifier(parts[0], algorithm, []byte(public))
		if err != nil {
			return verifier{}, err
		}
		if id, _ := strconv.ParseUint(parts[1], 16, 32); uint32(id) != v.id() {
			return verifier{}, errors.New("another key id")
		}
		return v, nil
	}
	return verifier{}, errors.New("an unknown type")
}

type keyVector struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Seed      string `json:"seed"`
	Public    string `json:"public_key"`
	KeyID     string `json:"key_id"`
	Vkey      string `json:"vkey"`
}

type keys struct {
	About   string          `json:"about"`
	Vectors []keyVector     `json:"vectors"`
	Refused []refusedVector `json:"refused"`
}

func keyFile() ([]file, error) {
	var good []keyVector
	for _, k := range allKeys() {
		if again, err := readVkey(k.vkey()); err != nil || again.id() != k.id() {
			return nil, fmt.Errorf("%s does not read its own key: %w", k.name, err)
		}
		good = append(good, keyVector{k.name, k.algorithm.name, hexHash(k.seed), hexOf(k.public), fmt.Sprintf("%08x", k.id()), k.vkey()})
	}
	k := oldLogKey()
	material := b64(k.material())
	id := fmt.Sprintf("%08x", k.id())
	withID := func(name string, material []byte) string {
		digest := h256([]byte(name), []byte("\n"), material)
		return fmt.Sprintf("%s+%s+%s", name, hexOf(digest[:4]), b64(material))
	}
	bad := []refusedVector{
		{Name: "nothing", Text: ""},
		{Name: "no key", Text: k.name + "+" + id},
		{Name: "no name", Text: withID("", k.material())},
		{Name: "a space in the name", Text: withID("relay example", k.material())},
		{Name: "another name", Text: "other.example+" + id + "+" + material},
		{Name: "another key id", Text: k.name + "+00000000+" + material},
		{Name: "a key id in upper case", Text: k.name + "+" + strings.ToUpper(id) + "+" + material},
		{Name: "a key id of seven digits", Text: k.name + "+" + id[1:] + "+" + material},
		{Name: "no padding", Text: strings.TrimRight(postQuantumKey().vkey(), "=")},
		{Name: "an unknown type", Text: withID(k.name, join([]byte{2}, k.public))},
		{Name: "ff with another identifier", Text: withID(k.name, join([]byte{0xff}, []byte("other.example/v1"), k.public))},
		{Name: "an Ed25519 key of 31 bytes", Text: withID(k.name, k.material()[:32])},
		{Name: "an ML-DSA-44 key of 1311 bytes", Text: withID(k.name, postQuantumKey().material()[:1312])},
		{Name: "an ML-DSA-65 key under 06", Text: withID(k.name, join([]byte{6}, identityKey().public))},
		{Name: "a newline behind it", Text: k.vkey() + "\n"},
	}
	if strings.ToUpper(id) == id || !strings.HasSuffix(postQuantumKey().vkey(), "=") {
		return nil, errors.New("choose other keys: two cases would show nothing")
	}
	for i := range bad {
		_, err := readVkey(bad[i].Text)
		if err == nil {
			return nil, fmt.Errorf("%s: was read", bad[i].Name)
		}
		bad[i].Reason = err.Error()
	}
	about := "Section 8.2. seed and public_key: hex (the seed of FIPS 204 or RFC 8032). Everything that is signed in these vectors is signed by these keys."
	return []file{{"keys.json", keys{about, good, bad}}}, nil
}
