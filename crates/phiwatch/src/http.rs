//! Metrics, health and a simple page of findings. Read only, loopback by default.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    metrics::Metrics,
    page,
    store::{Store, StoreError},
};

/// Findings on the page at most.
const FINDINGS_MAX: u32 = 500;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub state_dir: PathBuf,
    pub metrics: Arc<Metrics>,
    pub sinks: Vec<String>,
}

/// Binds the address; serving starts with [`serve`].
pub(crate) async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}\nhint: choose another address with --listen")
    })
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(findings))
        .route("/findings/{uid}", get(finding))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(ready))
        .with_state(shared);
    axum::serve(listener, router).await
}

/// The address that a listener got.
pub(crate) fn address(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("the listener has no address")
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    shared.metrics.age(now_ms);
    let asked = shared.clone();
    let waiting = move || -> Result<(), StoreError> {
        let store = Store::open(&asked.state_dir)?;
        for sink in &asked.sinks {
            let (count, oldest_ms) = store.waiting(sink)?;
            asked.metrics.set_waiting(sink, count, oldest_ms, now_ms);
        }
        Ok(())
    };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(waiting).await {
        // The other metrics are worth having all the more.
        tracing::warn!(error = %error, "cannot ask the store what waits");
    }
    match shared.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => failed(&error),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.metrics.is_ready(&shared.sinks) {
        Ok(()) => "ready\n".into_response(),
        Err(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
        }
    }
}

async fn findings(State(shared): State<Arc<Shared>>) -> Response {
    let read = move || Store::open(&shared.state_dir)?.findings(FINDINGS_MAX);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(values)) => html(page::list(&values)),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

async fn finding(State(shared): State<Arc<Shared>>, Path(uid): Path<String>) -> Response {
    let read = move || Store::open(&shared.state_dir)?.finding(&uid);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(Some(value))) => html(page::detail(&value)),
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, Html(page::not_found())).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn html(page: String) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page)).into_response()
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(error = %error, "a page could not be made");
    (StatusCode::INTERNAL_SERVER_ERROR, "the store or the metrics cannot be read; see the log\n")
        .into_response()
}
