//! What plans limit while `limits.planQuotas` is on, the admin's view of it, the keys of one account, the second factor.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{Relay, User, hash};
use crate::spawned::{Process, setup_code};

async fn with_quotas() -> Relay {
    Relay::with(|settings| settings.limits.plan_quotas = true).await
}

fn payload(n: u32) -> Vec<u8> {
    format!("payload number {n}").into_bytes()
}

async fn json_of(answer: reqwest::Response, status: StatusCode) -> Value {
    assert_eq!(answer.status(), status);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eleventh_upload_of_a_community_account_is_refused_and_a_repeat_is_not() {
    let relay = with_quotas().await;
    let user = relay.user().await;
    for n in 0..10 {
        assert_eq!(user.upload(&payload(n), json!({})).await.status(), StatusCode::OK, "{n}");
    }
    let refused = json_of(user.upload(&payload(10), json!({})).await, StatusCode::PAYMENT_REQUIRED).await;
    let expected = json!({ "error": "monthly_transfer_quota_reached", "dimension": "transfers_month",
        "plan": "community", "limit": 10 });
    assert_eq!(refused, expected);
    assert!(!user.available(&hash(&payload(10))).await);
    assert_eq!(relay.payload_files(), 10, "nothing of the refused upload is left");

    // Read once and sent again within a day: the same file.
    assert_eq!(user.download(&hash(&payload(0))).await.status(), StatusCode::OK);
    crate::relay::until("it is gone", async || !user.available(&hash(&payload(0))).await).await;
    assert_eq!(user.upload(&payload(0), json!({})).await.status(), StatusCode::OK);

    let other = relay.user_with(json!({ "plan": "pro" })).await;
    assert_eq!(other.upload(&payload(10), json!({})).await.status(), StatusCode::OK);
    let usage = relay.admin(Method::GET, "/v2/admin/usage").send().await.unwrap();
    let usage = json_of(usage, StatusCode::OK).await;
    let of = |user: &User| {
        let accounts = usage["accounts"].as_array().unwrap();
        let account = accounts.iter().find(|account| account["account_id"] == json!(user.account)).unwrap();
        (account["usage"]["transfers_this_month"].as_u64(), account["limits"]["transfers_month"].as_u64())
    };
    assert_eq!((of(&user), of(&other)), ((Some(10), Some(10)), (Some(1), Some(500))));
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetime_and_views_are_cut_to_the_plan_only_while_quotas_are_on() {
    let asked = json!({ "ttl_ms": 48 * 3_600_000, "max_views": 30 });
    for (quotas, plan, ttl_hours, reads) in [
        (true, "community", 1, 1),
        (true, "pro", 24, 10),
        (true, "licensed", 48, 30),
        (false, "community", 48, 30),
    ] {
        let relay = Relay::with(|settings| settings.limits.plan_quotas = quotas).await;
        let user = relay.user_with(json!({ "plan": plan })).await;
        let answer = json_of(user.upload(&payload(0), asked.clone()).await, StatusCode::OK).await;
        assert_eq!(answer["ttl_ms"].as_u64(), Some(ttl_hours * 3_600_000), "{plan}");
        let mut read = 0;
        while user.download(&hash(&payload(0))).await.status() == StatusCode::OK {
            read += 1;
        }
        assert_eq!(read, reads, "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_community_key_begins_fifty_downloads_an_hour() {
    let relay = with_quotas().await;
    let user = relay.user().await;
    // The hour may turn in between; then the count starts again.
    let mut refused = None;
    for _ in 0..102 {
        let answer = user.download(&"ab".repeat(32)).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
    let wait: u64 = refused.unwrap().headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_of_an_account_adds_others_and_the_others_do_not() {
    let relay = with_quotas().await;
    let first = relay.user().await;
    let add = async |user: &User, label: &str| {
        let body = json!({ "label": label }).to_string();
        user.request(Method::POST, "/v2/team/add-device").body(body).send().await.unwrap()
    };
    assert_eq!(add(&first, "").await.status(), StatusCode::BAD_REQUEST);
    let added = json_of(add(&first, "tablet").await, StatusCode::OK).await;
    assert_eq!((&added["label"], &added["team_id"]), (&json!("tablet"), &json!(first.account)));
    let second = User { key: added["key"].as_str().unwrap().to_owned(), ..first.clone() };
    assert_eq!(add(&second, "another").await.status(), StatusCode::FORBIDDEN);

    let devices = second.request(Method::GET, "/v2/team/devices").send().await.unwrap();
    let devices = json_of(devices, StatusCode::OK).await;
    assert_eq!(devices["count"].as_u64(), Some(2));
    assert!(!devices.to_string().contains(&first.key), "keys are shown masked");

    // A community account may have five keys.
    for n in 0..3 {
        assert_eq!(add(&first, &format!("device {n}")).await.status(), StatusCode::OK);
    }
    assert_eq!(add(&first, "one too many").await.status(), StatusCode::PAYMENT_REQUIRED);

    let body = json!({ "account_id": first.account }).to_string();
    let revoked = relay.admin(Method::POST, "/v2/admin/keys/revoke").body(body.clone()).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::OK);
    for user in [&first, &second] {
        assert_eq!(user.download(&"ab".repeat(32)).await.status(), StatusCode::UNAUTHORIZED);
    }
    let again = relay.admin(Method::POST, "/v2/admin/keys/revoke").body(body).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_the_second_factor_is_right_once_and_guessing_is_slow() {
    // Without a token file: the set-up code gives token and secret.
    let dir = TempDir::new().unwrap();
    let relay = Process::with(dir.path(), "");
    let code = setup_code(dir.path());
    let http = reqwest::Client::new();
    let post = async |path: &str, token: &str, body: Value| {
        let request = http.post(format!("{}{path}", relay.url)).header("X-Admin-Token", token);
        request.body(body.to_string()).send().await.unwrap()
    };
    let given = json_of(post("/v3/setup", "", json!({ "code": code })).await, StatusCode::OK).await;
    let (token, secret) = (given["token"].as_str().unwrap(), given["totp_secret"].as_str().unwrap());
    let verify = async |code: &str| post("/v2/admin/verify-mfa", token, json!({ "totp_code": code })).await;

    let unknown = post("/v2/admin/verify-mfa", "wrong", json!({ "totp_code": "000000" })).await;
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
    let right = authenticator(secret);
    let ok = async |code: &str| json_of(verify(code).await, StatusCode::OK).await["ok"].as_bool().unwrap();
    assert!(!ok("12345").await);
    assert!(ok(&right).await, "{right}");
    assert!(!ok(&right).await, "a code works once");
    assert!(!ok("").await);
    assert!(!ok("x").await);
    let sixth = verify(&right).await;
    assert_eq!(
        (sixth.status(), sixth.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "60")
    );
}

/// What an authenticator shows: the published way, by Python's standard library.
fn authenticator(secret: &str) -> String {
    const SCRIPT: &str = "import base64,hashlib,hmac,struct,sys,time\n\
        h=hmac.new(base64.b32decode(sys.argv[1]),struct.pack('>Q',int(time.time())//30),hashlib.sha1).digest()\n\
        o=h[-1]&15\n\
        print('%06d'%((struct.unpack('>I',h[o:o+4])[0]&0x7fffffff)%1000000))";
    let output = std::process::Command::new("python3").args(["-c", SCRIPT, secret]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
