//! The promises, as data. A sentence may be strengthened, never weakened.

/// One promise.
#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) id: &'static str,
    pub(crate) group: &'static str,
    pub(crate) sentence: &'static str,
    /// What it does not say.
    pub(crate) limits: &'static str,
    /// How a reader checks it.
    pub(crate) check: &'static str,
    /// What fails when it is broken: a file and a function, or `scenario` and its name.
    pub(crate) tests: &'static [(&'static str, &'static str)],
}

const LICENSING: &str = "Licensing";
const LEAVES: &str = "What leaves the relay";
const VERIFICATION: &str = "Verification";
const ACTIONS: &str = "Remote actions";
const CONSTRUCTION: &str = "Not possible, by construction";

const CHECK_IN: &str = "relay/server/tests/it/check_in.rs";
const GATES: &str = "relay/server/tests/it/gates.rs";
const STATE: &str = "relay/licensing/src/state/tests.rs";
const ONLINE: &str = "relay/licensing/src/online/tests.rs";
const OFFLINE: &str = "relay/licensing/src/offline/tests.rs";
const VECTORS: &str = "relay/licensing/tests/vectors.rs";
const CANARY: &str = "relay/server/tests/it/canary.rs";
const COURIER: &str = "relay/server/tests/it/license_courier.rs";
const REMOTE: &str = "relay/server/tests/it/remote_actions.rs";
const REACH: &str = "relay/server/tests/it/vendor_reach.rs";
const MATRIX: &str = "relay/server/tests/it/auth_matrix.rs";
const ACTION: &str = "relay/licensing/src/actions/tests.rs";
const OFFER: &str = "operator/core/src/offer/tests.rs";
const STOLEN: &str = "relay/server/tests/it/stolen_key.rs";
const ANOTHER: &str = "relay/server/tests/it/another_relays.rs";
const UNGATED: &str = "relay/server/tests/it/log_ungated.rs";
const ORDER: &str = "relay/server/tests/it/actions_order.rs";
const SCENARIO: &str = "scenario";

pub(crate) const PROMISES: &[Promise] = &[
    Promise {
        id: "L1",
        group: LICENSING,
        sentence: "An offline licence (`plk_…`, Ed25519) is checked locally against an embedded public key. It carries a user cap, an expiry and a name.",
        limits: "who holds the vendor's signing key can issue licences.",
        check: "`paramant license verify FILE`, without any network",
        tests: &[
            (VECTORS, "licences"),
            (OFFLINE, "a_changed_character_is_never_accepted"),
            (OFFLINE, "only_one_spelling_of_a_licence_is_accepted"),
        ],
    },
    Promise {
        id: "L2",
        group: LICENSING,
        sentence: "No key, a bad key or an expired key: the relay runs as Community Edition (5 users). It never refuses to start.",
        limits: "more than five accounts that are there already go on; a sixth cannot be made.",
        check: "`kubectl paramant license`, and the relay's `/health`",
        tests: &[
            (GATES, "no_state_of_a_licence_gates_anything_but_one_more_account"),
            (CHECK_IN, "a_secret_that_is_missing_or_emptied_is_community_and_back_it_counts_again"),
            ("relay/server/tests/it/admin.rs", "the_sixth_account_is_refused_and_the_five_go_on"),
            (SCENARIO, "license"),
        ],
    },
    Promise {
        id: "L3",
        group: LICENSING,
        sentence: "With an offline licence or none, nothing leaves the server to check it: no packet, no DNS query.",
        limits: "of the relay's pod, and of the courier that is not there; other pods are their owners' business.",
        check: "`kubectl get deployment -l app.kubernetes.io/name=paramant-courier`: none; count at the node, as the scenario does",
        tests: &[
            (SCENARIO, "license"),
            (SCENARIO, "network"),
            (CHECK_IN, "without_a_switch_a_key_or_a_pinned_key_nobody_is_asked"),
            (
                "relay/server/tests/it/quiet.rs",
                "with_an_offline_licence_or_none_a_relay_connects_to_nobody_and_asks_about_no_name",
            ),
        ],
    },
    Promise {
        id: "L4",
        group: LICENSING,
        sentence: "Online check (opt-in by having an online key): at start-up and every 6 h, to one configured endpoint.",
        limits: "the key alone switches nothing on, `spec.online` is needed too; an admin may ask at any time; a failed check is repeated, at most as often as the schedule in docs/spec/licensing.md says.",
        check: "`paramant license history --relay URL`, and the `license_checkin` entries of the log",
        tests: &[
            ("relay/licensing/src/schedule.rs", "a_server_cannot_stretch_the_interval_nor_hurry_a_relay"),
            ("relay/licensing/src/schedule.rs", "a_thousand_relays_that_start_together_do_not_stay_together"),
            (CHECK_IN, "without_a_switch_a_key_or_a_pinned_key_nobody_is_asked"),
        ],
    },
    Promise {
        id: "L5",
        group: LICENSING,
        sentence: "The request holds the licence key, the relay identity (fingerprint of the relay's own ML-DSA-65 public key, made on first boot), the version, a random nonce, and a telemetry block that is off by default. Nothing else; what any HTTPS request shows (source address, time, TLS parameters, fixed headers) is said openly.",
        limits: "what an HTTPS request shows: docs/spec/licensing.md, section 3; whole requests, as examples: docs/spec/vectors/check-ins.json.",
        check: "`paramant license request --out next.json --relay URL`: the exact bytes, before they leave",
        tests: &[
            (ONLINE, "a_request_holds_five_fields_and_no_more"),
            (VECTORS, "the_request_is_what_the_specification_makes"),
            (CHECK_IN, "the_bytes_shown_are_the_bytes_sent_and_sent_again"),
        ],
    },
    Promise {
        id: "L6",
        group: LICENSING,
        sentence: "The reply is a capability set, signed with ML-DSA-65 by a pinned key, valid for hours. Unsigned or invalid: rejected, and treated as an outage, never as a revocation.",
        limits: "who holds a pinned signing key can answer for the vendor; no key is pinned in a release yet, so the online check of a release is off.",
        check: "`paramant license verify-reply --reply FILE --request FILE --public-key HEX`, without any network",
        tests: &[
            (VECTORS, "replies_that_do_not"),
            (CHECK_IN, "whatever_goes_wrong_is_an_outage_and_changes_nothing"),
            (COURIER, "a_courier_that_alters_a_byte_is_an_outage"),
            (STATE, "nothing_counts_that_the_log_does_not_hold"),
        ],
    },
    Promise {
        id: "L7",
        group: LICENSING,
        sentence: "Endpoint unreachable: the last verified set goes on for 7 days, then Community. No surprise lockout: readiness, downloads, deletion, the log, drain, rollback and security updates never depend on a licence.",
        limits: "a signed refusal ends the set at its own `expires_at`, hours later; a set may bound the size and time of new uploads, never below 5 MiB and one hour.",
        check: "`status.license.graceUntil` of the relay, or `graceUntil` in `paramant license status --json --relay URL`",
        tests: &[
            (CHECK_IN, "days_without_a_word_end_in_community_and_the_next_word_restores_all"),
            (GATES, "no_state_of_a_licence_gates_anything_but_one_more_account"),
            (STATE, "a_clock_set_back_cannot_stretch_grace"),
            (SCENARIO, "license"),
        ],
    },
    Promise {
        id: "L8",
        group: LICENSING,
        sentence: "Telemetry never changes the entitlement.",
        limits: "of the reference authority it is shown by type; of another vendor's nothing can be shown but what their replies say.",
        check: "compare `paramant license history --relay URL` before and after the switch",
        tests: &[("authority/src/decide.rs", "telemetry_changes_no_answer")],
    },
    Promise {
        id: "S1",
        group: LEAVES,
        sentence: "Telemetry, only after opt-in: user count, transfers per 24 h, 5xx rate, auth-failure rate, uptime. Numbers only.",
        limits: "counts below 5 are sent as 4. Whoever can reach the public log can count transfers there, the vendor too.",
        check: "`paramant license preview --relay URL`",
        tests: &[
            (ONLINE, "telemetry_says_nothing_but_numbers"),
            (ONLINE, "small_counts_are_not_told_apart_and_rates_of_few_are_none"),
            (CHECK_IN, "telemetry_is_off_until_somebody_agrees_to_the_bytes_that_were_shown"),
        ],
    },
    Promise {
        id: "S2",
        group: LEAVES,
        sentence: "Never, even then: content, names or e-mails, file hashes, source or destination addresses, log content beyond counts.",
        limits: "webhooks that a user registered tell that user's own server of that user's own uploads.",
        check: "`paramant license request --out next.json --relay URL`, then read the file and search it",
        tests: &[
            (CANARY, "what_users_write_is_in_nothing_that_leaves"),
            ("relay/canary/src/lib.rs", "each_spelling_is_found_where_it_is_planted"),
            (SCENARIO, "license"),
        ],
    },
    Promise {
        id: "S3",
        group: LEAVES,
        sentence: "Before telemetry can be switched on, the admin sees the exact bytes that would be sent. The bytes shown are the bytes sent, and the relay's log commits to them.",
        limits: "the commitment is salted: whoever is given the salt can open it.",
        check: "docs/audit.md, \"Watch a licence check-in leave\"",
        tests: &[
            (CHECK_IN, "telemetry_is_off_until_somebody_agrees_to_the_bytes_that_were_shown"),
            (CHECK_IN, "the_bytes_shown_are_the_bytes_sent_and_sent_again"),
            (CHECK_IN, "the_log_commits_to_the_preview_that_was_agreed_to"),
            (
                "relay/server/tests/it/panel.rs",
                "the_switch_of_telemetry_is_unlocked_by_the_preview_on_its_page",
            ),
            (SCENARIO, "license"),
        ],
    },
    Promise {
        id: "S4",
        group: LEAVES,
        sentence: "A new field never rides on an old consent: consent is to a schema version.",
        limits: "there is one schema so far.",
        check: "docs/spec/telemetry.schema.json against `paramant license preview --relay URL`",
        tests: &[(CHECK_IN, "telemetry_is_off_until_somebody_agrees_to_the_bytes_that_were_shown")],
    },
    Promise {
        id: "S5",
        group: LEAVES,
        sentence: "In a cluster the data-path pod opens no outbound connection at all. What may leave goes through a separate, visible courier that exists only when something was switched on and cannot read what it carries.",
        limits: "your cluster must enforce NetworkPolicies for them to bind anybody; the relay originates nothing either way.",
        check: "`kubectl get networkpolicy R -o yaml`: no egress; count at the node, as the scenarios do",
        tests: &[
            (SCENARIO, "network"),
            (SCENARIO, "license"),
            (SCENARIO, "witnesses"),
            (SCENARIO, "webhooks"),
            (COURIER, "a_courier_that_leads_to_somebody_else_hears_nothing_of_the_request"),
        ],
    },
    Promise {
        id: "S6",
        group: LEAVES,
        sentence: "Every outbound call is a line in the relay's log file and covered by an entry in its transparency log (witness pushes are summed per destination and hour).",
        limits: "the entry of a destination's calls is written once their hour is over; a check-in has entries of its own, before it leaves and after. A call that a crash cut off may be counted though it was not made.",
        check: "`paramant log tail --kind outbound_call --relay URL`, the panel's page \"calls\"",
        tests: &[
            ("relay/server/src/outbound/calls.rs", "calls_are_summed_per_destination_and_hour"),
            (
                "relay/server/src/outbound/calls.rs",
                "the_chain_covers_every_request_in_its_order_and_the_salt_opens_the_destination",
            ),
            (CHECK_IN, "an_admin_sees_everything_that_leaves_and_nobody_else_does"),
            ("relay/server/tests/it/calls.rs", "every_call_is_a_line_and_is_covered_by_an_entry"),
        ],
    },
    Promise {
        id: "V1",
        group: VERIFICATION,
        sentence: "Everything that runs can be built from source with one command, and the result is bit-for-bit the published image.",
        limits: "every run of the tests builds the relay's image twice; the operator's is built twice with the command below. The source fixes the version of Rust; C comes from the compiler of your system, and another version of it makes other bytes. No image is published before the first release.",
        check: "`cargo xtask reproduce` prints the digest of each image, built twice: compare it with the one you pull",
        tests: &[("xtask/src/reproduce.rs", "two_builds_of_the_relay_are_one_image")],
    },
    Promise {
        id: "V2",
        group: VERIFICATION,
        sentence: "Releases are signed; `cosign verify --key` accepts them; the operator refuses an image that does not verify, and pins the digest it verified.",
        limits: "the half about releases waits for the first one; test images are signed and verified the same way.",
        check: "`cosign verify --key KEY IMAGE`, as docs/verification.md says",
        tests: &[
            (SCENARIO, "tour"),
            ("operator/core/tests/it/verified.rs", "the_first_image_runs_only_once_it_was_verified"),
            (SCENARIO, "bad-input"),
        ],
    },
    Promise {
        id: "V3",
        group: VERIFICATION,
        sentence: "Every transfer is appended to the relay's own public Merkle log before the sender gets an answer.",
        limits: "the log hides who and what, not when or how many: entries are dated by the hour, but each signed tree head has its millisecond.",
        check: "`paramant verify RECEIPT --relay URL`; `paramant audit URL`",
        tests: &[
            (
                "relay/server/tests/it/crash.rs",
                "a_relay_killed_in_mid_upload_keeps_what_it_acknowledged_and_nothing_else",
            ),
            (SCENARIO, "kill"),
            (SCENARIO, "kill-pod"),
        ],
    },
    Promise {
        id: "V4",
        group: VERIFICATION,
        sentence: "Anyone can fetch, archive and verify that log with programs this project did not write.",
        limits: "programs of others check signatures, the tree and cosignatures; docs/audit.md says which checks what, and what an entry means only ours and yours know.",
        check: "`paramant audit URL`, then the same by others' programs, as docs/audit.md says",
        tests: &[
            (
                "relay/server/tests/it/stranger.rs",
                "a_person_with_the_page_alone_fetches_a_log_checks_it_and_sees_damage_refused",
            ),
            ("relay/client/tests/it/tampering.rs", "every_tampering_is_rejected_by_whom_the_document_says"),
            (SCENARIO, "tamper"),
        ],
    },
    Promise {
        id: "V5",
        group: VERIFICATION,
        sentence: "The protocols, the cryptographic specification and its test vectors are in the repository.",
        limits: "the wire protocol of published clients is their publisher's.",
        check: "docs/spec/README.md",
        tests: &[
            ("relay/protocol/tests/vectors/files.rs", "every_file_of_vectors_is_read_by_a_test"),
            (VECTORS, "remote_actions"),
            (
                "relay/client/tests/it/vectors.rs",
                "the_archives_of_the_specification_hold_and_every_member_is_found_in_them",
            ),
        ],
    },
    Promise {
        id: "R1",
        group: ACTIONS,
        sentence: "There are exactly four: issue a support key, offer an update, ask for drain, adjust the capability set. Anything else is refused, and the refusal is logged.",
        limits: "no licensing key is pinned in a release yet, so there none of the four can happen. What no pinned key signed is counted and shown to the admin (the page /admin/actions, `unverifiable` in the answer of /v2/admin/actions), never logged: anybody could fill a log.",
        check: "`paramant audit --actions --licensing-key HEX URL`, with the key that the vendor publishes (leave it out until there is one), not one that the relay shows; docs/spec/remote-actions.md",
        tests: &[
            (REMOTE, "each_of_the_four_follows_the_policy"),
            (REMOTE, "what_is_no_request_of_this_relays_chain_is_refused_in_the_log_or_counted"),
            (REACH, "no_message_of_a_vendor_changes_anything_but_what_the_four_actions_are_about"),
            (STOLEN, "a_thief_of_the_key_reaches_the_four_actions_and_the_log_tells_all_of_it"),
            (ACTION, "what_is_not_the_next_of_this_relays_chain_is_refused"),
        ],
    },
    Promise {
        id: "R2",
        group: ACTIONS,
        sentence: "Each is recorded in the relay's own log, with the role (Owner or Support), before it takes effect.",
        limits: "a relay that runs another program than ours may do otherwise; the log shows what it was told, and a silence statement what the vendor claims.",
        check: "`paramant audit --actions --licensing-key HEX URL`: each request with its entry, its role, and what became of it",
        tests: &[
            (REMOTE, "each_of_the_four_follows_the_policy"),
            (REMOTE, "a_refusal_carries_requests_too_and_each_reply_a_statement_of_silence"),
            (ACTION, "only_the_entry_of_this_very_request_shows_that_it_is_logged"),
            (
                "relay/server/tests/it/actions_faults.rs",
                "whatever_step_was_the_last_before_a_kill_the_act_happens_once",
            ),
            (VECTORS, "remote_actions"),
            (SCENARIO, "actions"),
        ],
    },
    Promise {
        id: "R3",
        group: ACTIONS,
        sentence: "A support key is time-boxed, read-only, bound to one relay, and revocable by the admin at once, without asking anyone.",
        limits: "what it showed before it ended stays known to whoever held it.",
        check: "`kubectl paramant revoke-support-key R ID`, or the button on the page /admin/actions; docs/auth-matrix.md",
        tests: &[
            (REMOTE, "a_support_key_reads_diagnostics_and_ends_within_a_second_without_the_vendor"),
            (REMOTE, "a_support_key_ends_by_its_time_and_by_the_policys"),
            (REMOTE, "what_the_policy_denies_by_its_id_ends_though_it_was_in_force"),
            (MATRIX, "every_route_opens_to_whom_the_table_says_and_to_nobody_else"),
            (SCENARIO, "actions"),
        ],
    },
    Promise {
        id: "R4",
        group: ACTIONS,
        sentence: "An update is an offer: Community sees a banner, Pro applies it in a window the admin opted into, Enterprise needs explicit approval. Never a silent push.",
        limits: "the banner is a line in status, in `kubectl paramant` and on the page /admin/actions. A relay without an operator shows offers and applies none; `spec.channel` and a named policy are what an admin opts in with.",
        check: "`status.update.available` of the relay; docs/operate.md, \"Offers\"; `update_offered` in the log",
        tests: &[
            (OFFER, "mode_and_tier_decide_and_the_built_in_policy_leaves_it_to_people"),
            (OFFER, "an_offer_is_followed_if_it_is_newer_and_nothing_speaks_against_it"),
            (SCENARIO, "actions"),
        ],
    },
    Promise {
        id: "R5",
        group: ACTIONS,
        sentence: "Drain refuses new uploads, finishes what is in flight, then idles. The admin can always undo it.",
        limits: "a vendor's drain ends by itself after a week at most; downloads, deletion and the log are served throughout.",
        check: "while a vendor's drain is on, `kubectl paramant undrain R --refuse`, or the button on the page /admin/actions: uploads are taken at once",
        tests: &[
            (REMOTE, "a_drain_ends_by_the_admin_by_the_vendor_and_by_itself_and_outlives_a_restart"),
            ("relay/server/src/drain/requests.rs", "who_asks_follows_the_table"),
            (
                "relay/server/tests/it/drain.rs",
                "an_upload_in_chunks_that_began_before_a_drain_is_finished_and_no_other_begins",
            ),
            (
                ACTION,
                "a_drain_lasts_a_week_at_most_and_a_support_key_as_long_as_request_policy_and_a_day_allow",
            ),
            (
                ORDER,
                "a_clock_that_visits_another_decade_ends_a_support_key_and_a_drain_goes_on_as_long_as_it_was_to",
            ),
            (SCENARIO, "drain"),
            (SCENARIO, "node-drain"),
            (SCENARIO, "license"),
            (SCENARIO, "actions"),
        ],
    },
    Promise {
        id: "R6",
        group: ACTIONS,
        sentence: "A capability change takes effect at the next check-in.",
        limits: "what it takes away goes on until the end of the set before.",
        check: "`paramant license status --relay URL` before and after",
        tests: &[
            (CHECK_IN, "widening_counts_at_once_and_narrowing_at_its_boundary"),
            (STATE, "a_set_lasts_to_its_own_end_however_many_newer_ones_came"),
            (SCENARIO, "actions"),
        ],
    },
    Promise {
        id: "N1",
        group: CONSTRUCTION,
        sentence: "Reading content: the relay never holds a decryption key. Swapping a recipient's key in its directory is evident: registrations are logged, and clients that pin or check refuse.",
        limits: "a client that neither pins nor checks is told nothing; a device name that nobody registered yet is whose keys come first, so compare the fingerprint at first contact.",
        check: "`paramant send FILE --recipient NAME --fingerprint FINGERPRINT --relay URL`: any other than the one the receiver told you is refused",
        tests: &[
            ("relay/client/tests/it/http.rs", "a_relay_that_swaps_a_key_is_refused"),
            (
                "relay/client/tests/it/served.rs",
                "a_devices_keys_are_taken_only_with_the_entry_that_registers_these_very_keys",
            ),
            ("relay/server/tests/it/burned_keys.rs", "burned_keys_are_found_nowhere"),
            (SCENARIO, "actions"),
        ],
    },
    Promise {
        id: "N2",
        group: CONSTRUCTION,
        sentence: "Rewriting the log unnoticed by anyone who kept an earlier checkpoint; with a witness quorum, also showing two auditors different logs.",
        limits: "without witnesses the holder of the log's keys can show two auditors two logs.",
        check: "`paramant audit --state FILE URL`, later again",
        tests: &[
            ("relay/client/tests/it/tampering.rs", "every_tampering_is_rejected_by_whom_the_document_says"),
            (
                "relay/server/tests/it/witnesses.rs",
                "a_quorum_cosigns_what_the_log_says_and_a_reader_with_the_policy_accepts_it",
            ),
            (SCENARIO, "witnesses"),
        ],
    },
    Promise {
        id: "N3",
        group: CONSTRUCTION,
        sentence: "Getting past the local second factor or admin key: no message from a vendor can create, weaken or skip either.",
        limits: "the second factor guards the pages at /admin alone; the interface for programs takes the token. The vendor's program itself is trusted like any program one runs: V1 and V2 are about that.",
        check: "docs/auth-matrix.md, and the tests below: `cargo test -p paramant-relay --test it` runs them",
        tests: &[
            (REACH, "no_message_of_a_vendor_changes_anything_but_what_the_four_actions_are_about"),
            (STOLEN, "a_thief_of_the_key_reaches_the_four_actions_and_the_log_tells_all_of_it"),
            (
                "relay/server/tests/it/sign_in_guessing.rs",
                "whoever_guesses_is_slowed_down_and_told_and_keeps_nobody_else_out",
            ),
            (MATRIX, "every_route_opens_to_whom_the_table_says_and_to_nobody_else"),
        ],
    },
    Promise {
        id: "N4",
        group: CONSTRUCTION,
        sentence: "Reaching user data or another deployment through the vendor channel.",
        limits: "diagnostics say how many accounts and files there are in sum, to who holds a support key.",
        check: "docs/auth-matrix.md says what a support key opens; the tests as with N3",
        tests: &[
            (REACH, "no_message_of_a_vendor_changes_anything_but_what_the_four_actions_are_about"),
            (MATRIX, "every_route_opens_to_whom_the_table_says_and_to_nobody_else"),
            (REMOTE, "what_is_no_request_of_this_relays_chain_is_refused_in_the_log_or_counted"),
            (CANARY, "what_users_write_is_in_nothing_that_leaves"),
            (ANOTHER, "what_the_vendor_signed_for_one_relay_is_worth_nothing_at_another"),
        ],
    },
    Promise {
        id: "N5",
        group: CONSTRUCTION,
        sentence: "Switching off the log: no capability, licence state or setting gates it.",
        limits: "deleting the relay, or `paramant-relay log adopt` on its stopped data directory, ends a log for good, seen as `log_closed` or as a log that names the one before; whoever holds the data directory can stop the relay altogether; then nothing is served either.",
        check: "`paramant audit URL`, in any state of the licence",
        tests: &[
            (GATES, "no_state_of_a_licence_gates_anything_but_one_more_account"),
            (UNGATED, "no_set_no_state_of_a_licence_and_no_policy_changes_what_the_log_takes_and_tells"),
            (UNGATED, "nothing_that_writes_or_serves_the_log_can_ask_what_is_licensed"),
            (SCENARIO, "license"),
        ],
    },
];
