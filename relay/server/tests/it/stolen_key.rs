//! What a thief of the vendor's signing key reaches in a real relay: the four actions and nothing else. Each is in the log before its
//! effect, an admin's word stops it, and the log tells all of it afterwards.

use jiff::Timestamp;
use paramant_authority::decide::usual;
use paramant_client::audit::actions::{Outcome, RemoteActions, Row, What};
use paramant_client::audit::{Baggage, Report, audit};
use paramant_client::relay::Progress;
use paramant_licensing::actions::{Ask, Request, Silence, Why};
use paramant_licensing::online::capability::Tier;
use paramant_licensing::online::reply;
use paramant_protocol::control::{Directives, DrainDirective, RemoteAnswer, RemoteState};
use paramant_protocol::entry::Kind;
use paramant_protocol::entry::body::RefusalReason;
use paramant_protocol::leaf::Hash;
use paramant_relay::settings::Control;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::{self, OPERATOR};
use crate::relay::{Relay, User, hash, noise, until};
use crate::remote_actions::{
    answer, count, drain, drains, offer, refusals, rules, settled, support, told, with_key,
};
use crate::thief::Thief;
use crate::vendor::{online, report};
use crate::vendor_reach::{State, beyond, state};

/// What `paramant audit --actions` tells of a relay.
async fn audited(thief: &Thief, relay: &Relay) -> (Report, RemoteActions) {
    let source = paramant_client::Relay::new(relay.url.parse().unwrap(), None, None).unwrap();
    let baggage = Baggage { actions: Some(vec![thief.shared.signer.public.clone()]), ..Baggage::default() };
    let (report, _) = audit(&source, &baggage, &Progress::silent()).await.unwrap();
    let actions = report.actions.clone().unwrap();
    (report, actions)
}

fn data(relay: &Relay) -> State {
    state(&relay.dir.path().join("data"))
}

/// Kinds that a thief would like there to be.
const WISHES: [&str; 7] = [
    "reset_second_factor",
    "create_key",
    "admin_token",
    "set_policy",
    "read_files",
    "break_glass",
    "approve",
];

/// Signed documents that are no requests, and what a thief could hope they are taken for.
fn forgeries(thief: &Thief, relay: &Relay) -> Vec<Value> {
    let request = |change: &dyn Fn(&mut Value)| {
        let signed = thief.signed(&thief.next(relay, drain(true, None)));
        let mut fields: Value = serde_json::from_slice(&signed).unwrap();
        fields.as_object_mut().unwrap().remove("signature");
        change(&mut fields);
        thief.shared.sign(fields)
    };
    let id = control::fingerprint(relay);
    let honest = Silence { relay_id: id.clone(), seq: 0, head: Hash::default(), issued_at: Timestamp::now() };
    vec![
        thief.shared.silence(&honest),
        request(&|it| it["approved"] = true.into()),
        request(&|it| it["details"]["admin_token"] = "planted".into()),
        request(&|it| it["type"] = "paramant/approval/v1".into()),
        request(&|it| it["type"] = "paramant/action/v2".into()),
        request(&|it| it["seq"] = 0.into()),
        request(&|it| it["kind"] = "Drain now, please".into()),
        thief.shared.sign(json!({ "relayUid": "uid-1", "epoch": 99, "seq": 99, "drain": { "spec": true } })),
        thief.shared.sign(json!({ "type": "paramant/action/v1", "relay_id": id, "kind": "drain" })),
        json!({ "signature": "" }),
        Value::Null,
    ]
}

async fn with_a_user(relay: &Relay) -> (User, Vec<u8>) {
    let (user, payload) = (relay.user().await, noise(7, 5000));
    assert!(user.upload(&payload, json!({})).await.status().is_success());
    settled(relay).await;
    (user, payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_of_the_key_reaches_the_four_actions_and_the_log_tells_all_of_it() {
    let thief = Thief::start().await;
    let relay = thief.relay(rules(RemoteAnswer::Allow)).await;
    let (user, payload) = with_a_user(&relay).await;
    let before = data(&relay);
    relay.admin(Method::POST, "/v2/admin/keys").json(&json!({ "label": "planted" })).send().await.unwrap();
    assert!(!beyond(&before, &data(&relay)).is_empty(), "a planted account is seen");

    let start = data(&relay);
    let (secret, key) = support(&relay);
    let four = [key, Ask::UpdateOffer(Box::new(offer(1))), drain(true, Some(60 * 60 * 24 * 365))];
    for asks in [four.to_vec(), WISHES.map(|wish| Ask::Unknown(wish.into())).to_vec()] {
        let kinds: Vec<String> = asks.iter().map(|ask| ask.kind().to_owned()).collect();
        thief.asks(&relay, asks).await;
        assert_eq!(beyond(&start, &data(&relay)), [""; 0], "{kinds:?}");
    }
    let accepted =
        |at: usize| told(&relay).requests.iter().find(|it| it.sequence == Some(at as u64)).unwrap().state;
    assert_eq!([accepted(1), accepted(2), accepted(3)], [RemoteState::Accepted; 3]);
    assert!(with_key(&relay, "/v2/support", secret.expose()).await.is_success() && drains(&relay));
    assert_eq!(refusals(&relay), [RefusalReason::UnknownAction; WISHES.len()]);
    // Another set counts only with its request; both are the fourth action.
    let terms = usual(Tier::Enterprise);
    let (tier, capabilities) = (json!(terms.tier), json!(terms.capabilities));
    thief.plan(|plan| plan.tier = Some(Tier::Enterprise));
    settled(&relay).await;
    assert_eq!((report(&relay).tier.as_str(), count(&relay, Kind::CapabilityChanged)), ("Pro", 0));
    thief
        .asks(&relay, [Ask::CapabilitySet { set_sha256: reply::terms(&tier, &capabilities).unwrap() }])
        .await;
    until("the set counts", async || report(&relay).tier == "Enterprise").await;
    assert_eq!(beyond(&start, &data(&relay)), [""; 0], "a set");

    // What is no next request of this chain.
    let last = thief.next(&relay, drain(false, None));
    let other = |change: &dyn Fn(&mut Request)| {
        let mut request = last.clone();
        change(&mut request);
        serde_json::from_slice(&thief.signed(&request)).unwrap()
    };
    let used = told(&relay).requests.iter().find(|it| it.sequence == Some(1)).unwrap().id.clone();
    let wrong = vec![
        other(&|it| it.seq = 1),
        other(&|it| it.seq += 1),
        other(&|it| it.prev = [1; 32]),
        other(&|it| it.relay_id = "ab".repeat(32)),
        other(&|it| it.id.clone_from(&used)),
    ];
    thief.sends(&relay, wrong).await;
    let reasons = [
        RefusalReason::Fork,
        RefusalReason::Gap,
        RefusalReason::Fork,
        RefusalReason::WrongRelay,
        RefusalReason::Fork,
    ];
    until("each is refused", async || refusals(&relay).len() == WISHES.len() + 5).await;
    let mut found: Vec<String> =
        refusals(&relay).split_off(WISHES.len()).iter().map(|it| format!("{it:?}")).collect();
    let mut expected: Vec<String> = reasons.iter().map(|it| format!("{it:?}")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(drains(&relay), "none of them ended it");

    // What is no request at all is counted, and never in the log.
    for some in forgeries(&thief, &relay).chunks(8) {
        let (unverifiable, asked) = (told(&relay).unverifiable, count(&relay, Kind::VendorRequest));
        thief.sends(&relay, some.to_vec()).await;
        until("each of them is counted, however often they were sent", async || {
            let counted = told(&relay).unverifiable - unverifiable;
            counted > 0 && counted.is_multiple_of(some.len() as u64)
        })
        .await;
        let refused = refusals(&relay).len() - WISHES.len();
        assert_eq!((count(&relay, Kind::VendorRequest), refused), (asked, 5), "{some:#?}");
    }
    // Nor is there room in a reply for anything else.
    for (name, value) in [
        ("admin_token", json!("planted")),
        ("settings", json!({ "remote": {} })),
        ("keys", json!([])),
        ("actions", json!([1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("next_pubkey_hash", json!(["x"])),
        ("capabilities", json!({ "max_users": "all" })),
    ] {
        thief.plan(|plan| plan.edits = vec![(name, value)]);
        thief.is_not_believed(&relay, "form").await;
    }
    assert_eq!(beyond(&start, &data(&relay)), [""; 0], "all of it");

    // Whoever had something has it still.
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    assert!(relay.admin(Method::GET, "/v2/admin/keys").send().await.unwrap().status().is_success());
    let ended = told(&relay).requests.iter().find(|it| it.sequence == Some(3)).unwrap().id.clone();
    let end = format!("/v2/admin/actions/{ended}/end");
    assert!(relay.admin(Method::POST, &end).send().await.unwrap().status().is_success());
    assert!(!drains(&relay), "an admin ends it, whoever asked for it");

    // Everything that was done is told, each effect after its request.
    let (found, actions) = audited(&thief, &relay).await;
    assert!(found.holds(), "{found:#?}");
    let placed = thief.plan(|plan| plan.chain.len());
    assert_eq!(actions.requests.len(), placed);
    for (place, row) in actions.requests.iter().enumerate() {
        let of = |what: fn(&What) -> bool| row.effects.iter().any(|effect| what(&effect.what));
        let taken = match row.asked.kind.as_str() {
            "support_key" => of(|it| matches!(it, What::SupportKeyIssued { .. })),
            "update_offer" => of(|it| matches!(it, What::UpdateOffered { .. })),
            "drain" => of(|it| matches!(it, What::DrainChanged { by_vendor: true, .. })),
            "capability_set" => of(|it| matches!(it, What::CapabilityChanged { .. })),
            _ => false,
        };
        let refused = matches!(row.outcome, Outcome::Refused { reason: RefusalReason::UnknownAction, .. });
        assert_eq!((taken, refused), (!is_wish(row), is_wish(row)), "{place}: {row:#?}");
        assert!(row.effects.iter().all(|effect| effect.entry > row.asked.entry), "{row:#?}");
        assert!(row.asked.signed_by.is_some() && row.asked.reason == Why::LegalOrder);
    }
    let refused = actions.untied.iter().filter(|it| matches!(it.what, What::RemoteActionRefused { .. }));
    assert_eq!(refused.count(), 5, "{:#?}", actions.untied);
    for request in told(&relay).requests {
        assert!(request.log_index.unwrap() < request.checkpoint_size.unwrap(), "logged before its effect");
    }

    // And a lie about how much was asked is the vendor's own signature under it.
    let lie = Silence {
        relay_id: control::fingerprint(&relay),
        seq: 1,
        head: [9; 32],
        issued_at: Timestamp::now(),
    };
    thief.plan(|plan| plan.silence = Some(thief.shared.silence(&lie)));
    settled(&relay).await;
    let (found, actions) = audited(&thief, &relay).await;
    assert!(!found.holds() && actions.silence.verdict.contains("contradicts"), "{:#?}", actions.silence);
    relay.stop().await;
}

fn is_wish(row: &Row) -> bool {
    WISHES.contains(&row.asked.kind.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_an_admin_answered_answers_for_nothing_else() {
    let thief = Thief::start().await;
    let relay = thief.relay(rules(RemoteAnswer::Ask)).await;
    let harmless = thief.asks(&relay, [drain(false, None)]).await;
    assert!(answer(&relay, &harmless, "approve").await.is_success());
    settled(&relay).await;
    let (secret, key) = support(&relay);
    let again = Request { id: harmless.clone(), ..thief.next(&relay, key) };
    thief.sends(&relay, vec![serde_json::from_slice(&thief.signed(&again)).unwrap()]).await;
    until("it is refused", async || refusals(&relay) == [RefusalReason::Fork]).await;
    assert!(!with_key(&relay, "/v2/support", secret.expose()).await.is_success());
    let (found, _) = audited(&thief, &relay).await;
    assert!(found.holds(), "{found:#?}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_refuses_stops_a_thief_of_the_key() {
    let thief = Thief::start().await;
    let relay = thief.relay(rules(RemoteAnswer::Refuse)).await;
    let (user, _) = with_a_user(&relay).await;
    let (secret, key) = support(&relay);
    let terms = usual(Tier::Enterprise);
    let terms = reply::terms(&json!(terms.tier), &json!(terms.capabilities)).unwrap();
    thief.plan(|plan| plan.tier = Some(Tier::Enterprise));
    let four = [
        key,
        Ask::UpdateOffer(Box::new(offer(1))),
        drain(true, None),
        Ask::CapabilitySet { set_sha256: terms },
    ];
    thief.asks(&relay, four).await;
    assert!(told(&relay).requests.iter().all(|it| it.state == RemoteState::Refused));
    assert!(!with_key(&relay, "/v2/support", secret.expose()).await.is_success());
    assert!(told(&relay).offer.is_none() && !drains(&relay) && report(&relay).tier == "Pro");
    assert!(user.upload(&noise(8, 10), json!({})).await.status().is_success());
    let effects = [Kind::SupportKeyIssued, Kind::UpdateOffered, Kind::DrainChanged, Kind::CapabilityChanged];
    assert_eq!(effects.map(|kind| count(&relay, kind)), [0; 4]);
    let (found, actions) = audited(&thief, &relay).await;
    assert!(found.holds(), "{found:#?}");
    let refused =
        |row: &Row| matches!(row.outcome, Outcome::Refused { reason: RefusalReason::NotAllowed, .. });
    assert!(actions.requests.len() == 4 && actions.requests.iter().all(refused), "{actions:#?}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_admin_says_of_drains_beats_a_thief_of_the_key() {
    let (thief, authority) = (Thief::start().await, control::Authority::new());
    let home = TempDir::new().unwrap();
    let (ca, token) = (home.path().join("operator-ca.pem"), home.path().join("operator-token"));
    std::fs::write(&ca, &authority.pem).unwrap();
    std::fs::write(&token, "first token\n").unwrap();
    let relay = thief.starts(|settings| {
        rules(RemoteAnswer::Allow)(settings);
        settings.listen.control.set_port(0);
        settings.control = Some(Control { operator_ca: ca, token_file: Some(token) });
    });
    let relay = relay.await;
    let operator = authority.client(&relay, &OPERATOR());
    let says = async |seq, drain| {
        let log_identity = Some(control::fingerprint(&relay));
        let directives = Directives { log_identity, ..control::directives(seq, drain) };
        assert_eq!(control::put(&operator, &relay, &directives).await.0, StatusCode::OK);
    };
    says(1, DrainDirective::default()).await;
    online(&relay).await;
    let user = relay.user().await;
    let mut taken = 0;
    let mut takes = async || {
        taken += 1;
        user.upload(&noise(taken, 10), json!({})).await.status().is_success()
    };
    thief.asks(&relay, [drain(true, None)]).await;
    assert!(!takes().await, "it drains while nobody says otherwise");
    says(2, control::spec(false)).await;
    assert!(takes().await, "spec.drain: false ends it at once");
    thief.asks(&relay, [drain(true, Some(600))]).await;
    assert!(takes().await, "and every later one");
    says(3, DrainDirective::default()).await;
    assert!(!takes().await, "the thief's was accepted, and counts while nobody says otherwise");
    says(4, control::spec(false)).await;
    let (found, actions) = audited(&thief, &relay).await;
    assert!(found.holds(), "{found:#?}");
    assert_eq!(actions.requests.len(), 2);
    relay.stop().await;
}
