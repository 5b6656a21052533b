//! How long a silent peer is waited for.
//!
//! A connection costs memory, a descriptor and sometimes the writer's place of an upload.
//! Whoever stops in the middle keeps them only for so long: the body of a request ends with
//! an error, and the kernel drops a connection whose peer takes nothing.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::middleware::Next;
use actix_web::web;
use futures::StreamExt;
use socket2::SockRef;

use super::State;

/// Wraps every request whose body comes in pieces.
pub(super) async fn limit_silence<B: MessageBody>(
    state: web::Data<State>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    match request.take_payload() {
        Payload::None => {}
        payload => request.set_payload(timed(payload, state.silence)),
    }
    next.call(request).await
}

/// The same bytes, and an error in place of the piece that did not come in time.
fn timed(payload: Payload, limit: Duration) -> Payload {
    let pieces = futures::stream::unfold(Some(payload), move |payload| async move {
        let mut payload = payload?;
        match tokio::time::timeout(limit, payload.next()).await {
            Ok(piece) => piece.map(|piece| (piece, Some(payload))),
            Err(_) => Some((Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into())), None)),
        }
    });
    Payload::Stream { payload: pieces.boxed_local() }
}

/// Has the kernel drop connections whose peer acknowledges or takes nothing for `limit`.
/// Accepted connections inherit it from the listener.
pub(super) fn drop_deaf_peers(listener: &TcpListener, limit: Duration) -> std::io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(Some(limit))
}
