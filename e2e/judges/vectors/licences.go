package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxLicence is the most characters behind plk_ that are read.
const maxLicence = 16 * 1024

var (
	licenceSeed = fill(0x11)
	dateForm    = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	timeForm    = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$`)
	digits      = regexp.MustCompile(`^[0-9]+$`)
	onlineKey   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// terms are what a licence says.
type terms struct {
	users    uint64 // 0 is unlimited
	until    time.Time
	issuedTo string
}

// readLicence is licensing.md, section 1, in its order.
func readLicence(text string, key ed25519.PublicKey) (terms, error) {
	encoded, is := strings.CutPrefix(text, "plk_")
	if !is {
		return terms{}, errors.New("no plk_")
	}
	if onlineKey.MatchString(encoded) {
		return terms{}, errors.New("a key for the online check")
	}
	if len(encoded) > maxLicence {
		return terms{}, errors.New("too long")
	}
	if strings.ContainsAny(encoded, "\r\n") {
		return terms{}, errors.New("line breaks")
	}
	all, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return terms{}, err
	}
	if len(all) <= ed25519.SignatureSize {
		return terms{}, errors.New("nothing but a signature")
	}
	payload, signature := all[:len(all)-ed25519.SignatureSize], all[len(all)-ed25519.SignatureSize:]
	if !ed25519.Verify(key, payload, signature) {
		return terms{}, errors.New("the signature does not verify")
	}
	value, err := strict(payload)
	if err != nil {
		return terms{}, err
	}
	fields, is := value.(object)
	if !is {
		return terms{}, errors.New("not an object")
	}
	users, err := readCap(fields["max_keys"])
	if err != nil {
		return terms{}, err
	}
	expires, _ := fields["expires_at"].(string)
	until, err := readInstant(expires)
	if err != nil {
		return terms{}, err
	}
	issuedTo, _ := fields["issued_to"].(string)
	if issuedTo == "" {
		return terms{}, errors.New("no issued_to")
	}
	return terms{users, until, issuedTo}, nil
}

func readCap(value any) (uint64, error) {
	switch value := value.(type) {
	case integer:
		if !value.negative && value.magnitude > 0 && value.magnitude <= maxInteger {
			return value.magnitude, nil
		}
	case string:
		if value == "unlimited" {
			return 0, nil
		}
		if digits.MatchString(value) && len(value) < 19 {
			var users uint64
			fmt.Sscan(value, &users)
			if users > 0 && users <= maxInteger {
				return users, nil
			}
		}
	}
	return 0, errors.New("max_keys is neither unlimited nor a whole number above 0")
}

// readInstant reads a date, whose first instant in UTC is meant, or RFC 3339 with T and an offset.
func readInstant(text string) (time.Time, error) {
	if dateForm.MatchString(text) {
		return time.Parse(time.DateOnly, text)
	}
	if !timeForm.MatchString(text) {
		return time.Time{}, errors.New("neither a date nor RFC 3339")
	}
	return time.Parse(time.RFC3339Nano, text)
}

type licenceVector struct {
	Name    string `json:"name"`
	Licence string `json:"licence"`
	Payload string `json:"payload"`
	// MaxKeys is absent for unlimited.
	MaxKeys  uint64 `json:"max_keys,omitempty"`
	IssuedTo string `json:"issued_to"`
	Until    string `json:"until"`
	// At and Counts: whether it counts at an instant.
	At     string `json:"at"`
	Counts bool   `json:"counts"`
}

type licences struct {
	About   string          `json:"about"`
	Public  string          `json:"public_key"`
	Other   string          `json:"another_public_key"`
	Vectors []licenceVector `json:"vectors"`
	Refused []refusedVector `json:"refused"`
}

func signLicence(private ed25519.PrivateKey, payload string) string {
	return encodeLicence([]byte(payload), ed25519.Sign(private, []byte(payload)))
}

func encodeLicence(payload, signature []byte) string {
	return "plk_" + base64.RawURLEncoding.EncodeToString(join(payload, signature))
}

func licenceFile() ([]file, error) {
	private := ed25519.NewKeyFromSeed(licenceSeed[:])
	public := private.Public().(ed25519.PublicKey)
	otherSeed := fill(0x12)
	other := ed25519.NewKeyFromSeed(otherSeed[:])
	const plain = `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":50}`
	good := []struct{ name, payload, at string }{
		{"valid", plain, "2027-01-01T00:00:00Z"},
		{"valid: at the last instant of all", plain, "2027-06-30T00:00:00Z"},
		{"expired: a second after", plain, "2027-06-30T00:00:01Z"},
		{"expired: years after", plain, "2031-01-01T00:00:00Z"},
		{"no cap", `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":"unlimited"}`, "2027-01-01T00:00:00Z"},
		{"the cap as text", `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":"50"}`, "2027-01-01T00:00:00Z"},
		{"an instant with an offset", `{"expires_at":"2027-06-30T02:00:00+02:00","issued_to":"Acme","max_keys":50}`, "2027-06-30T00:00:00Z"},
		{"an instant with milliseconds", `{"expires_at":"2027-06-30T00:00:00.500Z","issued_to":"Acme","max_keys":50}`, "2027-06-30T00:00:00Z"},
		{"not in canonical form: the signature is over the bytes as they stand", "{ \"max_keys\": 50,\n  \"issued_to\": \"\\u0041cme\", \"expires_at\": \"2027-06-30\" }", "2027-01-01T00:00:00Z"},
		{"a field that is not listed is passed over", `{"expires_at":"2027-06-30","issued_at":"2026-06-30","issued_to":"Acme","max_keys":50,"seats":"\u00e9"}`, "2027-01-01T00:00:00Z"},
	}
	content := licences{
		About:  "licensing.md, section 1. public_key: the one that is accepted, hex; another_public_key signed one of those refused. payload: what was signed, as text. until: the last instant it counts; counts: whether it does at `at`.",
		Public: hexOf(public), Other: hexOf(other.Public().(ed25519.PublicKey)),
	}
	for _, it := range good {
		licence := signLicence(private, it.payload)
		read, err := readLicence(licence, public)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", it.name, err)
		}
		at := must(time.Parse(time.RFC3339, it.at))
		content.Vectors = append(content.Vectors, licenceVector{
			it.name, licence, it.payload, read.users, read.issuedTo, read.until.UTC().Format(time.RFC3339Nano), it.at, !at.After(read.until),
		})
	}
	valid := signLicence(private, plain)
	signature := ed25519.Sign(private, []byte(plain))
	changed := slices.Clone(signature)
	changed[0] ^= 1
	cases := []refusedVector{
		{Name: "nothing", Text: ""},
		{Name: "no prefix", Text: strings.TrimPrefix(valid, "plk_")},
		{Name: "the prefix in upper case", Text: "PLK_" + strings.TrimPrefix(valid, "plk_")},
		{Name: "only a prefix", Text: "plk_"},
		{Name: "a key for the online check", Text: "plk_" + strings.Repeat("ab", 32)},
		{Name: "signed by another key", Text: signLicence(other, plain)},
		{Name: "more users than were signed", Text: encodeLicence([]byte(strings.Replace(plain, "50", "99", 1)), signature)},
		{Name: "one bit of the signature changed", Text: encodeLicence([]byte(plain), changed)},
		{Name: "the signature's second half beyond the order of the group", Text: encodeLicence([]byte(plain), beyondOrder(signature))},
		{Name: "signed in canonical form, delivered in another", Text: encodeLicence([]byte(strings.Replace(plain, ",", ", ", 1)), signature)},
		{Name: "a signature of nothing", Text: encodeLicence(nil, ed25519.Sign(private, nil))},
		{Name: "cut off", Text: valid[:len(valid)-4]},
		{Name: "padded", Text: signLicence(private, plain+" ") + "="},
		{Name: "in the alphabet of base64, not base64url", Text: standardAlphabet(private)},
		{Name: "bits behind the last byte", Text: looseBits(signLicence(private, plain+" "))},
		{Name: "a line break inside", Text: valid[:20] + "\n" + valid[20:]},
		{Name: "longer than is read", Text: signLicence(private, strings.Repeat(" ", maxLicence)+plain)},
		{Name: "a key twice, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":5,"max_keys":50}`)},
		{Name: "a key twice, once escaped, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":5,"max_\u006beys":50}`)},
		{Name: "a fraction, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":50.0}`)},
		{Name: "an exponent, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":5e1}`)},
		{Name: "no users, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":0}`)},
		{Name: "fewer than no users, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":-1}`)},
		{Name: "a cap of 2^53, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":9007199254740992}`)},
		{Name: "a cap in words, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":"many"}`)},
		{Name: "a cap with a sign, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme","max_keys":"+50"}`)},
		{Name: "no cap at all, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"Acme"}`)},
		{Name: "no expiry, signed", Text: signLicence(private, `{"issued_to":"Acme","max_keys":50}`)},
		{Name: "an expiry as a number, signed", Text: signLicence(private, `{"expires_at":1814313600,"issued_to":"Acme","max_keys":50}`)},
		{Name: "a day that is none, signed", Text: signLicence(private, `{"expires_at":"2027-02-30","issued_to":"Acme","max_keys":50}`)},
		{Name: "a time without an offset, signed", Text: signLicence(private, `{"expires_at":"2027-06-30T00:00:00","issued_to":"Acme","max_keys":50}`)},
		{Name: "a space for T, signed", Text: signLicence(private, `{"expires_at":"2027-06-30 00:00:00Z","issued_to":"Acme","max_keys":50}`)},
		{Name: "nobody, signed", Text: signLicence(private, `{"expires_at":"2027-06-30","issued_to":"","max_keys":50}`)},
		{Name: "bytes behind the document, signed", Text: signLicence(private, plain+"{}")},
		{Name: "a list, signed", Text: signLicence(private, "["+plain+"]")},
	}
	for i := range cases {
		_, err := readLicence(cases[i].Text, public)
		if err == nil {
			return nil, fmt.Errorf("%s: was accepted", cases[i].Name)
		}
		cases[i].Reason = err.Error()
	}
	content.Refused = cases
	return []file{{"licences.json", content}}, nil
}

// beyondOrder adds the order of the group to the scalar: the same signature to a verifier that does not look.
func beyondOrder(signature []byte) []byte {
	order, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	little := slices.Clone(signature[32:])
	slices.Reverse(little)
	sum := new(big.Int).Add(new(big.Int).SetBytes(little), order)
	scalar := sum.FillBytes(make([]byte, 32))
	slices.Reverse(scalar)
	return join(signature[:32], scalar)
}

// standardAlphabet is a licence with one of the two characters that the alphabets have not in common, in the wrong one.
func standardAlphabet(private ed25519.PrivateKey) string {
	for i := 0; ; i++ {
		licence := signLicence(private, fmt.Sprintf(`{"expires_at":"2027-06-30","issued_to":"Acme %d","max_keys":50}`, i))
		encoded := strings.TrimPrefix(licence, "plk_")
		if strings.ContainsAny(encoded, "-_") {
			return "plk_" + strings.NewReplacer("-", "+", "_", "/").Replace(encoded)
		}
	}
}

// looseBits sets a bit that no byte has room for.
func looseBits(licence string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, licence[len(licence)-1])
	return licence[:len(licence)-1] + string(alphabet[last|1])
}
