//! Keys made and revoked by the admin, the cap on accounts, and the set-up code.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, User};

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_account_is_refused_and_the_five_go_on() {
    let relay = Relay::start().await;
    let mut users = Vec::new();
    for _ in 0..5 {
        users.push(relay.user().await);
    }
    let refused = relay.admin(Method::POST, "/v2/admin/keys").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    let body: Value = refused.json().await.unwrap();
    assert_eq!((body["current_keys"].as_u64(), body["max_keys"].as_u64()), (Some(5), Some(5)));
    assert!(body["upgrade_url"].is_string() && body["error"].is_string());

    // Another key of an account that counts already is no further account.
    relay.user_with(json!({ "account_id": users[0].account })).await;
    for user in &users {
        assert!(valid(&relay, &user.key).await);
    }
    let revoked =
        relay.admin(Method::POST, "/v2/admin/keys/revoke").body(json!({ "key": users[4].key }).to_string());
    assert_eq!(revoked.send().await.unwrap().status(), StatusCode::OK);
    assert!(!valid(&relay, &users[4].key).await);
    relay.user().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_revoked_by_its_kid() {
    let relay = Relay::start().await;
    let user = relay.user_with(json!({ "label": "phone", "email": "a@example.org", "plan": "pro" })).await;
    let listed: Value =
        relay.admin(Method::GET, "/v2/admin/keys?reveal=1").send().await.unwrap().json().await.unwrap();
    assert!(!listed.to_string().contains(&user.key));
    assert_eq!(
        (listed["keys"][0]["label"].as_str(), listed["keys"][0]["plan"].as_str()),
        (Some("phone"), Some("pro"))
    );
    let kid = listed["keys"][0]["kid"].as_str().unwrap();
    for (answer, expected) in [("k_000000000000", 404), (kid, 200)] {
        let body = json!({ "kid": answer }).to_string();
        let answer = relay.admin(Method::POST, "/v2/admin/keys/revoke").body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected);
    }
    assert_eq!(user.download(&"ab".repeat(32)).await.status(), StatusCode::UNAUTHORIZED);
    for name in ["meta.db", "meta.db-wal"] {
        let path = relay.dir.path().join("data").join(name);
        let bytes = std::fs::read(path).unwrap();
        assert!(
            !bytes.windows(user.key.len()).any(|window| window == user.key.as_bytes()),
            "the key is in {name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_and_wrong_wishes_are_refused() {
    let relay = Relay::start().await;
    for request in [
        relay.http.get(format!("{}/v2/admin/keys", relay.url)),
        relay.http.get(format!("{}/v2/admin/keys", relay.url)).header("X-Admin-Token", "wrong"),
        relay.http.get(format!("{}/v2/admin/keys", relay.url)).bearer_auth("wrong"),
    ] {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let bearer = relay.http.get(format!("{}/v2/admin/keys", relay.url)).bearer_auth(crate::relay::ADMIN);
    assert_eq!(bearer.send().await.unwrap().status(), StatusCode::OK);
    for body in [
        json!({ "key": "pgp_short" }),
        json!({ "key": "not a key" }),
        json!({ "email": "nobody" }),
        json!({ "label": "x".repeat(129) }),
        json!({ "account_id": "ab".repeat(16) }),
        json!({ "label": 5 }),
    ] {
        let answer = relay.admin(Method::POST, "/v2/admin/keys").body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let chosen = format!("pgp_{}", "0123456789abcdef".repeat(2));
    let user: User = relay.user_with(json!({ "key": chosen })).await;
    assert_eq!(user.key, chosen);
    let again = relay.admin(Method::POST, "/v2/admin/keys").body(json!({ "key": chosen }).to_string());
    assert_eq!(again.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_code_sets_up_a_relay_that_has_a_token() {
    let relay = Relay::start().await;
    for code in ["", "ABCD-EFGH", crate::relay::ADMIN] {
        let answer =
            relay.http.post(format!("{}/v3/setup", relay.url)).body(json!({ "code": code }).to_string());
        assert_eq!(answer.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
}

async fn valid(relay: &Relay, key: &str) -> bool {
    let request = relay.http.get(format!("{}/v2/check-key", relay.url)).header("X-Api-Key", key);
    request.send().await.unwrap().json::<Value>().await.unwrap()["valid"].as_bool().unwrap()
}
