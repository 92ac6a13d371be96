//! Shutting down.

use std::time::Duration;

use forebay_api::{Drained, Listeners, ServeError};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{PATIENCE, Service, event, read_answer, settings, until};

#[tokio::test]
async fn what_is_in_flight_is_answered_and_then_nothing_more() {
    let service = Service::start_with(|s| {
        s.settings.drain.ready_wait = Duration::from_secs(5);
        s.settings.drain.finish_by = Duration::from_secs(60);
    })
    .await;
    service.post("/api/v1/events/t", event("first").to_string()).await;
    let mut idle = service.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_answer(&mut idle).await;

    service.log.hold();
    let in_flight = service.post("/api/v1/events/t", event("slow").to_string());
    let draining = async {
        service.queued(1).await;
        service.shutdown.cancel();
        until("the service is unready", async || service.get("/readyz").await.status == 503).await;
        assert_eq!(service.get("/livez").await.status, 200, "still serving");
        until("the listener is closed", async || TcpStream::connect(service.address).await.is_err()).await;
        assert_eq!(service.get_management("/livez").await.status, 200, "supervisors may look on");
        service.log.let_go();
    };
    let (answer, ()) = tokio::join!(in_flight, draining);
    assert_eq!((answer.status, answer.json()["event_id"].clone()), (200, json!("slow")));
    let drained = tokio::time::timeout(PATIENCE, service.task).await.expect("the drain has no end").unwrap();
    assert_eq!(drained, Drained { requests_cut: 0 });
}

#[tokio::test]
async fn what_takes_too_long_is_cut_and_counted() {
    let service = Service::start_with(|s| s.settings.drain.finish_by = Duration::from_millis(300)).await;
    let mut socket = service.connect().await;
    socket
        .write_all(b"POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        .await
        .unwrap();
    assert!(read_answer(&mut socket).await.starts_with("HTTP/1.1 100"));
    service.shutdown.cancel();
    let drained = tokio::time::timeout(PATIENCE, service.task).await.expect("the drain has no end").unwrap();
    assert_eq!(drained, Drained { requests_cut: 1 });
}

#[tokio::test]
async fn only_loopback_without_credentials() {
    let mut far = settings(json!({}));
    far.listen = "0.0.0.0:0".parse().unwrap();
    let error = Listeners::bind(&far).await.unwrap_err();
    assert!(matches!(error, ServeError::NotLoopback { key: "api.listen", .. }));
    assert!(error.to_string().contains("--allow-anonymous"), "{error}");
    far.allow_anonymous = true;
    Listeners::bind(&far).await.unwrap();
}
