use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn who_only_follows_a_link_does_not_want_its_bytes() {
    for (who, sent) in [
        ("curl", vec![("accept", "*/*")]),
        ("a bare program", vec![]),
        (
            "a browser",
            vec![
                ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                ("sec-fetch-mode", "navigate"),
            ],
        ),
        ("an image", vec![("accept", "image/avif,image/webp,*/*;q=0.8"), ("sec-fetch-mode", "no-cors")]),
        ("a messenger", vec![("user-agent", "Slackbot-LinkExpanding 1.0"), ("range", "bytes=0-32768")]),
    ] {
        assert!(!wants_bytes(&headers(&sent)), "{who}");
    }
    for (who, sent) in [
        ("a program that says so", vec![("accept", "application/octet-stream")]),
        ("one that says it among others", vec![("accept", "text/html, Application/Octet-Stream;q=0.5")]),
        ("a page's script", vec![("accept", "*/*"), ("sec-fetch-mode", "cors")]),
        ("one with a password", vec![("x-blob-password", "p")]),
    ] {
        assert!(wants_bytes(&headers(&sent)), "{who}");
    }
}

#[test]
fn sizes_and_times_read_as_people_say_them() {
    for (bytes, said) in [
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (5 << 20, "5.0 MiB"),
        (1_048_575, "1.0 MiB"),
        (15 << 30, "15 GiB"),
        (u64::MAX, "16777216 TiB"),
    ] {
        assert_eq!(size(bytes), said);
    }
    for (seconds, said) in [
        (0, "less than a minute"),
        (60, "1 minute"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172_800, "2 days"),
    ] {
        assert_eq!(time_left(seconds), said);
    }
}

#[test]
fn a_typed_password_is_read_from_the_form() {
    let typed = |body: &'static str| in_form(&Bytes::from_static(body.as_bytes()));
    assert_eq!(typed("password=a+b%26gr%C3%BCn").unwrap().unwrap().bytes(), "a b&grün".as_bytes());
    assert!(typed("").unwrap().is_none());
    assert!(typed("password=").unwrap().is_none());
    assert!(typed("other=1").unwrap().is_none());
}

#[test]
fn the_page_escapes_what_comes_from_outside() {
    let offer = Offer {
        token: "\"><script>",
        size: "1 byte".into(),
        time_left: "1 minute".into(),
        locked: true,
        last: true,
    };
    let page = Page { offer: Some(offer), problem: None, busy: false }.render().unwrap();
    assert!(!page.contains("<script>"), "{page}");
}
