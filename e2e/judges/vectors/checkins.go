package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

const maxReply = 64 * 1024

var (
	utcForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$`)
	isWord  = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`).MatchString
)

// checkInKeys are those that sign replies; the last is pinned by nobody.
func checkInKeys() (first, second, stranger key) {
	return newKey("licensing.example.org", typeMLDSA65, fill(0x21)),
		newKey("licensing.example.org", typeMLDSA65, fill(0x22)),
		newKey("licensing.example.org", typeMLDSA65, fill(0x23))
}

type pinned struct {
	Public   string `json:"public_key"`
	NotAfter string `json:"not_after"`
	key      key
	until    time.Time
}

func pin(k key, notAfter string) pinned {
	return pinned{hexOf(k.public), notAfter, k, must(time.Parse(time.RFC3339, notAfter))}
}

// asked is the request of all vectors, and what its reply must echo.
type asked struct {
	licence, relay, nonce string
	text                  []byte
}

func (a asked) sha256() string { return hexHash(h256(a.text)) }

func newAsked() asked {
	a := asked{licence: "plk_" + strings.Repeat("5a", 32), relay: hexHash(fill(0xaa)), nonce: strings.Repeat("0f", 16)}
	a.text = must(canonical(object{
		"license_key": a.licence, "relay_id": a.relay, "nonce": a.nonce, "version": "0.1.0",
		"telemetry": object{"opted_in": false, "user_count": nil, "transfer_count_24h": nil},
	}))
	return a
}

// verdict is what an accepted reply says.
type verdict struct {
	sequence uint64
	set      bool
	issued   time.Time
	expires  time.Time
	users    uint64
	status   uint64
}

// readReply is licensing.md, section 4: size and status, strict JSON, signature, form, the document's status, echoes, sequence.
func readReply(text []byte, status uint64, a asked, keys []pinned, last uint64) (verdict, error) {
	if len(text) > maxReply {
		return verdict{}, errors.New("longer than is read")
	}
	value, err := strict(text)
	if err != nil {
		return verdict{}, err
	}
	fields, is := value.(object)
	if !is {
		return verdict{}, errors.New("not an object")
	}
	signature, is := fields["signature"].(string)
	if !is {
		return verdict{}, errors.New("no signature")
	}
	decoded, err := unB64(signature)
	if err != nil || strings.ContainsAny(signature, "\r\n") {
		return verdict{}, errors.New("the signature is not base64")
	}
	delete(fields, "signature")
	message, err := canonical(fields)
	if err != nil {
		return verdict{}, err
	}
	by := slices.IndexFunc(keys, func(it pinned) bool { return it.key.verify(message, decoded) })
	if by < 0 {
		return verdict{}, errors.New("no pinned key signed it")
	}
	read, err := readFields(fields)
	if err != nil {
		return verdict{}, err
	}
	if read.issued.After(keys[by].until) {
		return verdict{}, errors.New("the key had ended")
	}
	if read.status != status {
		return verdict{}, errors.New("the status is not the document's")
	}
	for name, expected := range map[string]string{"license_key": a.licence, "relay_id": a.relay, "nonce": a.nonce, "request_sha256": a.sha256()} {
		if fields[name] != expected {
			return verdict{}, fmt.Errorf("%s is another", name)
		}
	}
	if read.sequence <= last {
		return verdict{}, errors.New("not newer than the last one")
	}
	return read, nil
}

// readFields is the closed structure: what is not listed makes it no reply.
func readFields(fields object) (verdict, error) {
	var wrong error
	text := func(fields object, name string) string {
		value, is := fields[name].(string)
		if !is {
			wrong = fmt.Errorf("%s is no text", name)
		}
		return value
	}
	whole := func(fields object, name string) uint64 {
		value, is := fields[name].(integer)
		if !is || value.negative {
			wrong = fmt.Errorf("%s is no whole number", name)
		}
		return value.magnitude
	}
	instant := func(name string) time.Time {
		at := text(fields, name)
		parsed, err := time.Parse(time.RFC3339Nano, at)
		if err != nil || !utcForm.MatchString(at) {
			wrong = fmt.Errorf("%s is not RFC 3339 in UTC", name)
		}
		return parsed
	}
	names := []string{"issued_at", "license_key", "nonce", "relay_id", "request_sha256", "sequence"}
	read := verdict{sequence: whole(fields, "sequence"), issued: instant("issued_at"), status: 200}
	for _, name := range []string{"license_key", "nonce", "relay_id", "request_sha256"} {
		text(fields, name)
	}
	if _, refusal := fields["status"]; refusal {
		names = append(names, "status", "error")
		read.status = whole(fields, "status")
		if expected := map[uint64]string{402: "payment_failed", 404: "unknown_key", 410: "revoked"}[read.status]; expected == "" || expected != fields["error"] {
			return verdict{}, errors.New("status and error are no pair")
		}
	} else {
		names = append(names, "expires_at", "tier", "capabilities", "next_check_in_seconds")
		read.set, read.expires = true, instant("expires_at")
		if !slices.Contains([]string{"community", "free", "pro", "enterprise"}, text(fields, "tier")) {
			return verdict{}, errors.New("an unknown tier")
		}
		if _, is := fields["next_pubkey_hash"]; is {
			names = append(names, "next_pubkey_hash")
			text(fields, "next_pubkey_hash")
		}
		whole(fields, "next_check_in_seconds")
		capabilities, is := fields["capabilities"].(object)
		if !is {
			return verdict{}, errors.New("no capabilities")
		}
		read.users = whole(capabilities, "max_users")
		whole(capabilities, "max_blob_size_mb")
		whole(capabilities, "retention_max_seconds")
		for _, name := range []string{"ml_dsa_required", "custom_branding"} {
			if _, is := capabilities[name].(bool); !is {
				wrong = fmt.Errorf("%s is neither true nor false", name)
			}
		}
		addons, is := capabilities["addons_allowed"].([]any)
		if !is || len(addons) > 32 {
			return verdict{}, errors.New("addons_allowed is no list of at most 32")
		}
		for _, word := range append([]any{capabilities["support_level"]}, addons...) {
			if word, is := word.(string); !is || !isWord(word) {
				wrong = errors.New("a word that is none")
			}
		}
		if wrong == nil && !read.expires.After(read.issued) {
			wrong = errors.New("it ends before it was issued")
		}
	}
	for name := range fields {
		if !slices.Contains(names, name) {
			wrong = fmt.Errorf("%q is no field of a reply", name)
		}
	}
	return read, wrong
}

type replyVector struct {
	Name   string `json:"name"`
	Status uint64 `json:"status"`
	Last   uint64 `json:"last_sequence"`
	Reply  string `json:"reply"`
	// What was read of it.
	Sequence  uint64 `json:"sequence"`
	IssuedAt  string `json:"issued_at"`
	MaxUsers  uint64 `json:"max_users,omitempty"`
	ExpiresAt string `json:"expires_at,omitempty"`
	Serves    string `json:"serves_until,omitempty"`
}

type refusedReply struct {
	Name   string `json:"name"`
	Status uint64 `json:"status"`
	Last   uint64 `json:"last_sequence"`
	Reply  string `json:"reply"`
	Reason string `json:"reason"`
}

type checkIns struct {
	About   string         `json:"about"`
	Keys    []pinned       `json:"pinned"`
	Request string         `json:"request"`
	Digest  string         `json:"request_sha256"`
	Vectors []replyVector  `json:"vectors"`
	Refused []refusedReply `json:"refused"`
}

func checkInFile() ([]file, error) {
	a := newAsked()
	first, second, stranger := checkInKeys()
	keys := []pinned{pin(first, "2027-12-31T00:00:00Z"), pin(second, "2029-12-31T00:00:00Z")}
	content := checkIns{
		About: "licensing.md, sections 3 and 4. request: the bytes that were sent, as text. A reply of vectors is accepted when it comes with that status and last_sequence was the last one accepted; serves_until: until when a set serves if nothing newer comes. pinned: hex; what a key signs after not_after does not count.",
		Keys:  keys, Request: string(a.text), Digest: a.sha256(),
	}
	capabilities := func(changes ...any) object {
		return change(object{
			"max_users": number(25), "max_blob_size_mb": number(50), "retention_max_seconds": number(86400),
			"addons_allowed": []any{"webhooks"}, "ml_dsa_required": false, "support_level": "email", "custom_branding": true,
		}, changes)
	}
	set := func(changes ...any) object {
		return change(object{
			"issued_at": "2027-01-01T12:00:00Z", "expires_at": "2027-01-01T18:00:00Z", "license_key": a.licence,
			"relay_id": a.relay, "nonce": a.nonce, "request_sha256": a.sha256(), "sequence": number(8), "tier": "pro",
			"capabilities": capabilities(), "next_check_in_seconds": number(21600),
		}, changes)
	}
	refusal := func(status int64, cause string, changes ...any) object {
		return change(object{
			"status": number(status), "error": cause, "issued_at": "2027-01-01T12:00:00Z", "license_key": a.licence,
			"relay_id": a.relay, "nonce": a.nonce, "request_sha256": a.sha256(), "sequence": number(8),
		}, changes)
	}
	signed := func(by key, fields object) string {
		message := must(canonical(fields))
		return withSignature(string(message), by.sign(message))
	}
	one := signed(first, set())
	unsorted := capabilities("\ufb33", number(1), "\U0001f600", number(2))

	good := []replyVector{
		{Name: "a set", Status: 200, Last: 7, Reply: one},
		{Name: "the first reply of all", Status: 200, Last: 0, Reply: signed(first, set("sequence", number(1)))},
		{Name: "a set that lasts longer than seven days", Status: 200, Last: 7, Reply: signed(first, set("expires_at", "2027-03-01T00:00:00Z"))},
		{Name: "the other pinned key, after the first has ended", Status: 200, Last: 7, Reply: signed(second, set("issued_at", "2028-01-01T12:00:00Z", "expires_at", "2028-01-01T18:00:00Z"))},
		{Name: "at the last instant of a key", Status: 200, Last: 7, Reply: signed(first, set("issued_at", "2027-12-31T00:00:00Z", "expires_at", "2027-12-31T06:00:00Z"))},
		{Name: "milliseconds", Status: 200, Last: 7, Reply: signed(first, set("issued_at", "2027-01-01T12:00:00.250Z"))},
		{Name: "an announced key", Status: 200, Last: 7, Reply: signed(first, set("next_pubkey_hash", hexHash(h3(second.public))))},
		{Name: "tier free", Status: 200, Last: 7, Reply: signed(first, set("tier", "free"))},
		{Name: "no add-ons", Status: 200, Last: 7, Reply: signed(first, set("capabilities", capabilities("addons_allowed", []any{})))},
		{Name: "unknown capabilities, whose keys are sorted by UTF-16 code units", Status: 200, Last: 7, Reply: signed(first, set("capabilities", unsorted))},
		{Name: "delivered in another form than the canonical one, that was signed", Status: 200, Last: 7, Reply: loosely(one)},
		{Name: "402", Status: 402, Last: 7, Reply: signed(first, refusal(402, "payment_failed"))},
		{Name: "404", Status: 404, Last: 7, Reply: signed(first, refusal(404, "unknown_key"))},
		{Name: "410", Status: 410, Last: 7, Reply: signed(second, refusal(410, "revoked"))},
	}
	for i := range good {
		it := &good[i]
		read, err := readReply([]byte(it.Reply), it.Status, a, keys, it.Last)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", it.Name, err)
		}
		it.Sequence, it.IssuedAt = read.sequence, read.issued.Format(time.RFC3339Nano)
		if read.set {
			serves := read.issued.Add(7 * 24 * time.Hour)
			if read.expires.After(serves) {
				serves = read.expires
			}
			it.MaxUsers, it.ExpiresAt, it.Serves = read.users, read.expires.Format(time.RFC3339Nano), serves.Format(time.RFC3339Nano)
		}
	}

	long := signed(first, set("capabilities", capabilities("notice", strings.Repeat("x", maxReply))))
	twice := must(canonical(set()))
	message := []byte(strings.Replace(string(twice), `"sequence":8`, `"sequence":8,"sequence":9`, 1))
	cases := []refusedReply{
		{Name: "replayed", Status: 200, Last: 8, Reply: one},
		{Name: "older than what was accepted", Status: 200, Last: 9, Reply: one},
		{Name: "for another relay", Status: 200, Last: 7, Reply: signed(first, set("relay_id", hexHash(fill(0xab))))},
		{Name: "for another licence", Status: 200, Last: 7, Reply: signed(first, set("license_key", "plk_"+strings.Repeat("5b", 32)))},
		{Name: "to another request", Status: 200, Last: 7, Reply: signed(first, set("request_sha256", hexHash(fill(1))))},
		{Name: "to another nonce", Status: 200, Last: 7, Reply: signed(first, set("nonce", strings.Repeat("0e", 16)))},
		{Name: "signed by a key that nobody pinned", Status: 200, Last: 7, Reply: signed(stranger, set())},
		{Name: "signed by a key that had ended", Status: 200, Last: 7, Reply: signed(first, set("issued_at", "2027-12-31T00:00:01Z", "expires_at", "2027-12-31T06:00:00Z"))},
		{Name: "a number changed after signing", Status: 200, Last: 7, Reply: strings.Replace(one, `"max_users":25`, `"max_users":26`, 1)},
		{Name: "signed as it is delivered, not in canonical form", Status: 200, Last: 7, Reply: signedLoosely(first, set())},
		{Name: "unknown capabilities, signed with keys sorted by code points", Status: 200, Last: 7, Reply: signedByCodePoints(first, set("capabilities", unsorted))},
		{Name: "signed with the signature's own field in it, empty", Status: 200, Last: 7, Reply: withSignature(string(must(canonical(set()))), first.sign(must(canonical(set("signature", "")))))},
		{Name: "a key twice, signed so", Status: 200, Last: 7, Reply: withSignature(string(message), first.sign(twice))},
		{Name: "a fraction, signed", Status: 200, Last: 7, Reply: signedText(first, must(canonical(set())), `"max_users":25`, `"max_users":25.0`)},
		{Name: "an exponent, signed", Status: 200, Last: 7, Reply: signedText(first, must(canonical(set())), `"max_users":25`, `"max_users":2e1`)},
		{Name: "minus zero, signed", Status: 200, Last: 7, Reply: signedText(first, must(canonical(set())), `"max_users":25`, `"max_users":-0`)},
		{Name: "2^53, signed", Status: 200, Last: 7, Reply: signedText(first, must(canonical(set())), `"max_users":25`, `"max_users":9007199254740992`)},
		{Name: "no signature", Status: 200, Last: 7, Reply: string(must(canonical(set())))},
		{Name: "an empty signature", Status: 200, Last: 7, Reply: withSignature(string(must(canonical(set()))), nil)},
		{Name: "a signature cut off", Status: 200, Last: 7, Reply: withSignature(string(must(canonical(set()))), first.sign(must(canonical(set())))[:3300])},
		{Name: "a signature in base64url", Status: 200, Last: 7, Reply: urlSafe(signed(first, set()))},
		{Name: "a set with 402", Status: 402, Last: 7, Reply: one},
		{Name: "a refusal with 200", Status: 200, Last: 7, Reply: signed(first, refusal(402, "payment_failed"))},
		{Name: "a refusal with another refusal's status", Status: 410, Last: 7, Reply: signed(first, refusal(402, "payment_failed"))},
		{Name: "a cause that is not its status's", Status: 402, Last: 7, Reply: signed(first, refusal(402, "revoked"))},
		{Name: "a status that no refusal has", Status: 403, Last: 7, Reply: signed(first, refusal(403, "forbidden"))},
		{Name: "a refusal with a field too many", Status: 410, Last: 7, Reply: signed(first, refusal(410, "revoked", "message", "call us"))},
		{Name: "a set with a field too many", Status: 200, Last: 7, Reply: signed(first, set("notice", "buy more"))},
		{Name: "a set without its tier", Status: 200, Last: 7, Reply: signed(first, set("tier", nil))},
		{Name: "an unknown tier", Status: 200, Last: 7, Reply: signed(first, set("tier", "gold"))},
		{Name: "a set without a capability", Status: 200, Last: 7, Reply: signed(first, set("capabilities", capabilities("max_users", nil)))},
		{Name: "users as text", Status: 200, Last: 7, Reply: signed(first, set("capabilities", capabilities("max_users", "25")))},
		{Name: "fewer than no users", Status: 200, Last: 7, Reply: signed(first, set("capabilities", capabilities("max_users", number(-1))))},
		{Name: "an add-on that is a sentence", Status: 200, Last: 7, Reply: signed(first, set("capabilities", capabilities("addons_allowed", []any{"Buy more!"})))},
		{Name: "a support level of 33 letters", Status: 200, Last: 7, Reply: signed(first, set("capabilities", capabilities("support_level", strings.Repeat("a", 33))))},
		{Name: "33 add-ons", Status: 200, Last: 7, Reply: signed(first, set("capabilities", capabilities("addons_allowed", manyAddons(33))))},
		{Name: "an end before the beginning", Status: 200, Last: 7, Reply: signed(first, set("expires_at", "2027-01-01T11:59:59Z"))},
		{Name: "an end at the beginning", Status: 200, Last: 7, Reply: signed(first, set("expires_at", "2027-01-01T12:00:00Z"))},
		{Name: "a time with an offset", Status: 200, Last: 7, Reply: signed(first, set("expires_at", "2027-01-01T20:00:00+02:00"))},
		{Name: "a time with a space for T", Status: 200, Last: 7, Reply: signed(first, set("issued_at", "2027-01-01 12:00:00Z"))},
		{Name: "a time in seconds", Status: 200, Last: 7, Reply: signed(first, set("issued_at", number(1798804800)))},
		{Name: "longer than is read", Status: 200, Last: 7, Reply: long},
		{Name: "bytes behind it", Status: 200, Last: 7, Reply: one + "{}"},
		{Name: "cut off", Status: 200, Last: 7, Reply: one[:len(one)-1]},
		{Name: "nothing", Status: 200, Last: 7, Reply: ""},
		{Name: "a list", Status: 200, Last: 7, Reply: "[" + one + "]"},
		{Name: "a page", Status: 200, Last: 7, Reply: "<html><title>Welcome</title></html>"},
	}
	for i := range cases {
		it := &cases[i]
		_, err := readReply([]byte(it.Reply), it.Status, a, keys, it.Last)
		if err == nil {
			return nil, fmt.Errorf("%s: was accepted", it.Name)
		}
		it.Reason = err.Error()
	}
	content.Vectors, content.Refused = good, cases
	return []file{{"check-ins.json", content}}, nil
}

// change sets fields by name; nil takes one out.
func change(fields object, changes []any) object {
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(fields, changes[i].(string))
		} else {
			fields[changes[i].(string)] = changes[i+1]
		}
	}
	return fields
}

func manyAddons(n int) []any {
	var addons []any
	for i := range n {
		addons = append(addons, fmt.Sprintf("addon-%d", i))
	}
	return addons
}

// withSignature puts the field at the end of an object's text.
func withSignature(text string, signature []byte) string {
	return strings.TrimSuffix(text, "}") + `,"signature":"` + b64(signature) + `"}`
}

// signedText changes a text and signs what comes out, though it is no canonical form.
func signedText(by key, text []byte, old, new string) string {
	changed := strings.Replace(string(text), old, new, 1)
	return withSignature(changed, by.sign([]byte(changed)))
}

// loosely is the same document with white space, and its first two fields at the end.
func loosely(text string) string {
	fields := strings.SplitN(strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}"), `,"expires_at"`, 2)
	return "{ \"expires_at\"" + strings.Replace(fields[1], `"pro"`, `"\u0070ro"`, 1) + " ,\n\t" + fields[0] + " }\n"
}

func signedLoosely(by key, fields object) string {
	text := strings.Replace(string(must(canonical(fields))), ",", ", ", 1)
	return withSignature(text, by.sign([]byte(text)))
}

// signedByCodePoints signs what a program makes that sorts its keys by code points: the two unknown keys change places.
func signedByCodePoints(by key, fields object) string {
	if !(slices.Compare(utf16.Encode([]rune("\U0001f600")), utf16.Encode([]rune("\ufb33"))) < 0) {
		panic("choose other keys: the case would show nothing")
	}
	right := string(must(canonical(fields)))
	wrong := strings.Replace(right, "\"\U0001f600\":2,\"\ufb33\":1", "\"\ufb33\":1,\"\U0001f600\":2", 1)
	if right == wrong {
		panic("the keys were not found")
	}
	return withSignature(wrong, by.sign([]byte(wrong)))
}

// urlSafe writes the signature in the alphabet of base64url.
func urlSafe(text string) string {
	before, signature, _ := strings.Cut(text, `"signature":"`)
	changed := strings.NewReplacer("+", "-", "/", "_").Replace(signature)
	if changed == signature {
		panic("choose another document: the case would show nothing")
	}
	return before + `"signature":"` + changed
}
