package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

const maxAction = 12 * 1024

var (
	isID      = regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString
	isKind    = regexp.MustCompile(`^[a-z0-9_]{1,32}$`).MatchString
	isImage   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString
	isRelease = regexp.MustCompile(`^[!-~]{1,64}$`).MatchString
)

// openDocument is what requests and silence statements have in common: size, strict JSON, signature by a key that had not ended.
func openDocument(text []byte, key pinned) (object, error) {
	if len(text) > maxAction {
		return nil, errors.New("longer than is read")
	}
	value, err := strict(text)
	if err != nil {
		return nil, err
	}
	fields, is := value.(object)
	if !is {
		return nil, errors.New("not an object")
	}
	signature, is := fields["signature"].(string)
	if !is {
		return nil, errors.New("no signature")
	}
	decoded, err := unB64(signature)
	if err != nil || strings.ContainsAny(signature, "\r\n") {
		return nil, errors.New("the signature is not base64")
	}
	delete(fields, "signature")
	message, err := canonical(fields)
	if err != nil {
		return nil, err
	}
	if !key.key.verify(message, decoded) {
		return nil, errors.New("no pinned key signed it")
	}
	issued, err := instantOf(fields, "issued_at")
	if err != nil {
		return nil, err
	}
	if issued.After(key.until) {
		return nil, errors.New("the key had ended")
	}
	return fields, nil
}

func instantOf(fields object, name string) (time.Time, error) {
	text, _ := fields[name].(string)
	if !utcForm.MatchString(text) {
		return time.Time{}, fmt.Errorf("%s is not RFC 3339 in UTC", name)
	}
	return time.Parse(time.RFC3339Nano, text)
}

func only(fields object, names ...string) error {
	if len(fields) != len(names) {
		return errors.New("other fields than a request has")
	}
	for _, name := range names {
		if _, is := fields[name]; !is {
			return fmt.Errorf("no %s", name)
		}
	}
	return nil
}

func wholeNumber(value any) (uint64, bool) {
	number, is := value.(integer)
	return number.magnitude, is && !number.negative
}

// openRequest is remote-actions.md, sections 1 and 2.
func openRequest(text []byte, key pinned) (object, error) {
	fields, err := openDocument(text, key)
	if err != nil {
		return nil, err
	}
	if err := only(fields, "type", "relay_id", "seq", "prev", "id", "role", "reason", "issued_at", "expires_at", "actor_commitment", "kind", "details"); err != nil {
		return nil, err
	}
	word := func(name string) string { word, _ := fields[name].(string); return word }
	issued, _ := instantOf(fields, "issued_at")
	expires, err := instantOf(fields, "expires_at")
	seq, isSeq := wholeNumber(fields["seq"])
	details, isDetails := fields["details"].(object)
	switch {
	case err != nil:
		return nil, err
	case word("type") != "paramant/action/v1":
		return nil, errors.New("another type")
	case !isHex(word("relay_id")) || !isHex(word("prev")) || !isHex(word("actor_commitment")) || !isID(word("id")):
		return nil, errors.New("a field is not hex")
	case !isSeq || seq == 0:
		return nil, errors.New("seq is not 1 or more")
	case !slices.Contains([]string{"owner", "support"}, word("role")):
		return nil, errors.New("an unknown role")
	case !slices.Contains([]string{"support_case", "maintenance", "release", "security", "contract", "legal_order"}, word("reason")):
		return nil, errors.New("an unknown reason")
	case !expires.After(issued):
		return nil, errors.New("it ends before it was issued")
	case !isKind(word("kind")) || !isDetails:
		return nil, errors.New("no kind or no details")
	}
	return fields, checkDetails(word("kind"), details)
}

func checkDetails(kind string, details object) error {
	text := func(name string) string { text, _ := details[name].(string); return text }
	switch kind {
	case "support_key":
		seconds, is := wholeNumber(details["max_seconds"])
		if !is || seconds < 300 || seconds > 86400 || !isHex(text("key_sha256")) {
			return errors.New("not the details of a support key")
		}
		return only(details, "key_sha256", "max_seconds")
	case "update_offer":
		_, isSequence := wholeNumber(details["sequence"])
		_, isFloor := wholeNumber(details["floor"])
		recalled, isList := details["recalled"].([]any)
		ok := isSequence && isFloor && isList && len(recalled) <= 16 && isRelease(text("version")) && isImage(text("digest")) && isHex(text("notes_sha256"))
		for _, image := range recalled {
			image, is := image.(string)
			ok = ok && is && isImage(image)
		}
		if !ok {
			return errors.New("not the details of an offer")
		}
		return only(details, "version", "digest", "sequence", "floor", "recalled", "notes_sha256")
	case "drain":
		_, isBool := details["enabled"].(bool)
		_, isDeadline := wholeNumber(details["deadline_seconds"])
		if !isBool || !(isDeadline || details["deadline_seconds"] == nil) {
			return errors.New("not the details of a drain")
		}
		return only(details, "enabled", "deadline_seconds")
	case "capability_set":
		if !isHex(text("set_sha256")) {
			return errors.New("not the details of a capability set")
		}
		return only(details, "set_sha256")
	}
	return nil
}

// judgeRequest is section 4: the verdict on a request when `seen` are those that took their places.
func judgeRequest(text []byte, relay string, seen []string, key pinned, now time.Time) (string, error) {
	fields, err := openRequest(text, key)
	if err != nil {
		return "unverifiable", err
	}
	own := hexHash(h256(text))
	seq, _ := wholeNumber(fields["seq"])
	head := strings.Repeat("0", 64)
	if len(seen) > 0 {
		head = seen[len(seen)-1]
	}
	expires, _ := instantOf(fields, "expires_at")
	switch {
	case fields["relay_id"] != relay:
		return "wrong_relay", nil
	case seq <= uint64(len(seen)) && seen[seq-1] == own:
		return "known", nil
	case seq <= uint64(len(seen)):
		return "fork", nil
	case seq != uint64(len(seen))+1:
		return "gap", nil
	case fields["prev"] != head:
		return "fork", nil
	case !slices.Contains([]string{"support_key", "update_offer", "drain", "capability_set"}, fields["kind"].(string)):
		return "unknown_action", nil
	case !now.Before(expires):
		return "expired", nil
	}
	return "admitted", nil
}

type actionVector struct {
	Name string `json:"name"`
	// Seen is how many requests of the chain took their places before.
	Seen    int    `json:"seen"`
	Now     string `json:"now"`
	Request string `json:"request"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
}

type actorVector struct {
	RelayID    string `json:"relay_id"`
	ID         string `json:"id"`
	Actor      string `json:"actor"`
	Salt       string `json:"salt"`
	Commitment string `json:"commitment"`
}

type actionsContent struct {
	About   string         `json:"about"`
	Pinned  pinned         `json:"pinned"`
	RelayID string         `json:"relay_id"`
	Chain   []string       `json:"chain"`
	Hashes  []string       `json:"hashes"`
	Silence string         `json:"silence"`
	Actors  []actorVector  `json:"actors"`
	Vectors []actionVector `json:"vectors"`
}

func actorCommitment(relay, id, actor string, salt hash) hash {
	part := func(text string) []byte { return join(u16(len(text)), []byte(text)) }
	return h256([]byte("paramant/actor/v1\x00"), part(relay), part(id), part(actor), salt[:])
}

func actionFile() ([]file, error) {
	first, _, stranger := checkInKeys()
	key := pin(first, "2027-12-31T00:00:00Z")
	relay := hexHash(fill(0xaa))
	content := actionsContent{
		About:  "remote-actions.md. chain: requests of one relay, each following from the one before; hashes: SHA-256 of each. A vector is judged at `now` after the first `seen` of the chain took their places: admitted, known, unverifiable, or refused with the word that the log's entry has. silence: a statement after the whole chain. actors: section 3, salt in hex.",
		Pinned: key, RelayID: relay,
	}
	image := func(b byte) string { return "sha256:" + hexHash(fill(b)) }
	asks := []struct {
		kind, role, reason string
		details            object
	}{
		{"support_key", "support", "support_case", object{"key_sha256": hexHash(h256([]byte("paramant/support/v1"), []byte(relay), []byte(strings.Repeat("s", 32)))), "max_seconds": number(3600)}},
		{"update_offer", "owner", "release", object{"version": "1.2.3", "digest": image(1), "sequence": number(4), "floor": number(2), "recalled": []any{image(2)}, "notes_sha256": hexHash(fill(3))}},
		{"drain", "owner", "maintenance", object{"enabled": true, "deadline_seconds": number(600)}},
		{"drain", "owner", "maintenance", object{"enabled": false, "deadline_seconds": nil}},
		{"capability_set", "owner", "contract", object{"set_sha256": hexHash(fill(4))}},
		{"support_key", "owner", "legal_order", object{"key_sha256": hexHash(fill(5)), "max_seconds": number(86400)}},
	}
	signed := func(by pinned, fields object) string {
		message := must(canonical(fields))
		withIt := change(must(strict(message)).(object), []any{"signature", b64(by.key.sign(message))})
		return string(must(canonical(withIt)))
	}
	unsigned := func(seq int, changes ...any) object {
		ask := asks[seq-1]
		prev := strings.Repeat("0", 64)
		if seq > 1 {
			prev = content.Hashes[seq-2]
		}
		id := fmt.Sprintf("%032x", 0x1000+seq)
		return change(object{
			"type": "paramant/action/v1", "relay_id": relay, "seq": number(int64(seq)), "prev": prev, "id": id, "role": ask.role, "reason": ask.reason,
			"issued_at": "2027-01-01T12:00:00Z", "expires_at": "2027-01-05T12:00:00Z", "kind": ask.kind, "details": must(strict(must(canonical(ask.details)))),
			"actor_commitment": hexHash(actorCommitment(relay, id, "ada@vendor.example", fill(byte(seq)))),
		}, changes)
	}
	for seq := range asks {
		text := signed(key, unsigned(seq+1))
		content.Chain = append(content.Chain, text)
		content.Hashes = append(content.Hashes, hexHash(h256([]byte(text))))
	}
	for _, actor := range []string{"ada@vendor.example", "Ada Løvelace", ""} {
		id := fmt.Sprintf("%032x", 0x1001)
		content.Actors = append(content.Actors, actorVector{relay, id, actor, hexHash(fill(1)), hexHash(actorCommitment(relay, id, actor, fill(1)))})
	}
	content.Silence = signed(key, object{"type": "paramant/silence/v1", "relay_id": relay, "seq": number(int64(len(asks))), "head": content.Hashes[len(asks)-1], "issued_at": "2027-01-02T00:00:00Z"})
	if _, err := openDocument([]byte(content.Silence), key); err != nil {
		return nil, err
	}

	const noon, late = "2027-01-01T12:00:00Z", "2027-01-05T12:00:00Z"
	var cases []actionVector
	for i, text := range content.Chain {
		cases = append(cases, actionVector{Name: fmt.Sprintf("number %d, %s", i+1, asks[i].kind), Seen: i, Now: noon, Request: text, Verdict: "admitted"})
	}
	of := func(name string, seen int, now, verdict, text string) {
		cases = append(cases, actionVector{Name: name, Seen: seen, Now: now, Request: text, Verdict: verdict})
	}
	of("repeated", 3, noon, "known", content.Chain[1])
	of("repeated after it has ended", 3, late, "known", content.Chain[1])
	of("one is missing", 0, noon, "gap", content.Chain[1])
	of("far ahead", 1, noon, "gap", content.Chain[5])
	of("another second request, after the second", 2, noon, "fork", signed(key, unsigned(2, "reason", "security")))
	of("the first once more, made anew", 1, noon, "fork", signed(key, unsigned(1, "issued_at", "2027-01-01T12:00:01Z")))
	of("the next, that follows from another history", 1, noon, "fork", signed(key, unsigned(2, "prev", hexHash(fill(9)))))
	of("the first, that follows from something", 0, noon, "fork", signed(key, unsigned(1, "prev", hexHash(fill(9)))))
	of("for another relay", 0, noon, "wrong_relay", signed(key, unsigned(1, "relay_id", hexHash(fill(0xab)))))
	of("its time has come to an end", 0, late, "expired", content.Chain[0])
	of("a second before that", 0, "2027-01-05T11:59:59Z", "admitted", content.Chain[0])
	of("a fifth kind", 0, noon, "unknown_action", signed(key, unsigned(1, "kind", "trigger_backup", "details", object{"to": "elsewhere"})))
	of("a fifth kind, out of place", 1, noon, "gap", signed(key, unsigned(3, "kind", "trigger_backup", "details", object{})))
	strangers := pin(stranger, "2029-12-31T00:00:00Z")
	of("signed by a key that nobody pinned", 0, noon, "unverifiable", signed(strangers, unsigned(1)))
	of("signed after the key had ended", 0, "2027-12-31T12:00:00Z", "unverifiable", signed(key, unsigned(1, "issued_at", "2027-12-31T00:00:01Z", "expires_at", "2028-01-05T12:00:00Z")))
	of("a forged role", 0, noon, "unverifiable", strings.Replace(content.Chain[0], `"role":"support"`, `"role":"owner"`, 1))
	of("a forged number of seconds", 0, noon, "unverifiable", strings.Replace(content.Chain[0], `"max_seconds":3600`, `"max_seconds":3601`, 1))
	of("a key twice", 0, noon, "unverifiable", strings.Replace(content.Chain[0], `"seq":1`, `"seq":1,"seq":1`, 1))
	of("without a signature", 0, noon, "unverifiable", string(must(canonical(unsigned(1)))))
	of("nothing", 0, noon, "unverifiable", "")
	of("a silence statement", 0, noon, "unverifiable", content.Silence)
	of("longer than is read", 0, noon, "unverifiable", signed(key, unsigned(1, "kind", "novel", "details", object{"text": strings.Repeat("x", maxAction)})))
	for _, it := range []struct {
		name    string
		changes []any
	}{
		{"another type", []any{"type", "paramant/action/v2"}},
		{"a field too many", []any{"message", "call us"}},
		{"no reason", []any{"reason", nil}},
		{"a reason in words", []any{"reason", "because we say so"}},
		{"a role that is none", []any{"role", "admin"}},
		{"number nought", []any{"seq", number(0)}},
		{"an id in words", []any{"id", "first"}},
		{"an actor that is named", []any{"actor_commitment", "ada@vendor.example"}},
		{"an end at the beginning", []any{"expires_at", "2027-01-01T12:00:00Z"}},
		{"a time with an offset", []any{"issued_at", "2027-01-01T14:00:00+02:00"}},
		{"a kind in words", []any{"kind", "Run this"}},
		{"details too many", []any{"details", object{"key_sha256": hexHash(fill(1)), "max_seconds": number(600), "shell": true}}},
		{"a support key for longer than a day", []any{"details", object{"key_sha256": hexHash(fill(1)), "max_seconds": number(86401)}}},
		{"a support key for a moment", []any{"details", object{"key_sha256": hexHash(fill(1)), "max_seconds": number(299)}}},
		{"a secret in place of its hash", []any{"details", object{"key_sha256": "the secret", "max_seconds": number(600)}}},
		{"a drain that is neither on nor off", []any{"kind", "drain", "details", object{"enabled": "yes", "deadline_seconds": nil}}},
		{"a drain without its deadline's field", []any{"kind", "drain", "details", object{"enabled": true}}},
		{"an offer of a tag", []any{"kind", "update_offer", "details", object{"version": "1", "digest": "latest", "sequence": number(1), "floor": number(0), "recalled": []any{}, "notes_sha256": hexHash(fill(1))}}},
		{"an offer with a link", []any{"kind", "update_offer", "details", object{"version": "1", "digest": image(1), "sequence": number(1), "floor": number(0), "recalled": []any{}, "notes_url": "https://vendor.example"}}},
	} {
		of(it.name+", signed", 0, noon, "unverifiable", signed(key, unsigned(1, it.changes...)))
	}
	for i := range cases {
		it := &cases[i]
		verdict, err := judgeRequest([]byte(it.Request), relay, content.Hashes[:it.Seen], key, must(time.Parse(time.RFC3339, it.Now)))
		if verdict != it.Verdict {
			return nil, fmt.Errorf("%s: %s (%v), not %s", it.Name, verdict, err, it.Verdict)
		}
		if err != nil {
			it.Reason = err.Error()
		}
	}
	content.Vectors = cases
	return []file{{"actions.json", content}}, nil
}
