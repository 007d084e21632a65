#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;

use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;

const PODS: &str = "/api/v1/pods";

type Frames = mpsc::UnboundedReceiver<Bytes>;

fn body(frames: Frames) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    let stream = futures::stream::unfold(frames, |mut frames| async move {
        frames.recv().await.map(|bytes| (Ok(Frame::data(bytes)), frames))
    });
    StreamBody::new(Box::pin(stream))
}

async fn get(
    freshness: &Freshness,
    path: &str,
    status: u16,
) -> (mpsc::UnboundedSender<Bytes>, impl Body<Data = Bytes, Error = Infallible> + Unpin + use<>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut answer = Some(Response::builder().status(status).body(body(receiver)).unwrap());
    let service = ServiceBuilder::new().layer(StampLayer(freshness.clone())).service(tower::service_fn(
        move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())),
    ));
    let response = service.oneshot(Request::get(path).body(()).unwrap()).await.unwrap();
    (sender, response.into_body())
}

fn age(freshness: &Freshness) -> Duration {
    freshness.ages(Instant::now())[0].1
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_a_watch_makes_it_fresh_again() {
    let freshness = Freshness::default();
    freshness.track(PODS);
    let (sender, mut body) = get(&freshness, "/api/v1/pods?watch=true", 200).await;
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(age(&freshness), Duration::from_secs(100));
    sender.send(Bytes::from_static(b"{}\n")).unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(age(&freshness), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_hangs_is_stale_while_other_calls_succeed() {
    let freshness = Freshness::default();
    freshness.track(PODS);
    let _hanging = get(&freshness, "/api/v1/pods?watch=true", 200).await;
    tokio::time::advance(STALE_AFTER + Duration::from_secs(1)).await;
    assert!(!freshness.api_answers(Instant::now()));
    let _lease = get(&freshness, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", 200).await;
    assert_eq!(freshness.stale(Instant::now())[0].0, PODS);
    assert!(freshness.api_answers(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_counts_as_an_answer_but_not_as_a_success() {
    let freshness = Freshness::default();
    freshness.track(PODS);
    tokio::time::advance(Duration::from_secs(10)).await;
    let _refused = get(&freshness, PODS, 403).await;
    assert_eq!(age(&freshness), Duration::ZERO);
    assert!(!freshness.api_answers(Instant::now()));
    let _other = get(&freshness, "/version", 500).await;
    assert!(!freshness.api_answers(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn frames_of_other_bodies_stamp_nothing() {
    let freshness = Freshness::default();
    freshness.track(PODS);
    let (sender, mut body) = get(&freshness, "/api/v1/services?watch=true", 200).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    sender.send(Bytes::from_static(b"{}\n")).unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(age(&freshness), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_look_for_one_object_by_its_name_is_no_sign_of_life_of_a_watch() {
    let freshness = Freshness::default();
    freshness.track(PODS);
    tokio::time::advance(Duration::from_secs(9)).await;
    let by_name = format!("{PODS}?&fieldSelector=metadata.name%3Dx");
    let (_sender, _body) = get(&freshness, &by_name, 200).await;
    assert_eq!(age(&freshness), Duration::from_secs(9));
    assert!(freshness.api_answers(Instant::now()), "but it is an answer");
    let (_sender, _body) = get(&freshness, &format!("{PODS}?&labelSelector=a%3Db&limit=50"), 200).await;
    assert_eq!(age(&freshness), Duration::ZERO);
}
