//! Everything that leaves: one exchange, two ways to a destination.
//!
//! A relay that stands alone dials by itself. In a cluster it opens nothing: a courier has dialled *it*, and each destination
//! is a tunnel through that courier. Either way this process speaks TLS to the destination itself, so a courier, or a proxy on
//! the way, can neither read nor alter what is said. Every wait has an end, every answer a bound, and no redirect is followed.

pub(crate) mod calls;
mod couriers;
mod destination;
mod dial;
mod exchange;
mod public_only;
pub(crate) mod sums;
mod trust;

use std::time::Duration;

use paramant_protocol::control::CourierPurpose;

pub use self::couriers::{Couriers, Tunnel};
pub use self::destination::{Destination, InvalidDestination};
pub use self::dial::{ByteStream, InvalidProxy, Proxy, connect};
pub use self::exchange::{Reply, Request};
pub use self::public_only::{NotPublic, PublicOnly};
pub use self::trust::{Trust, UntrustedBundle};

/// A whole exchange: connection, handshakes, question and answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a destination is reached.
#[derive(Debug, Clone)]
pub enum Way {
    /// This process dials.
    Direct,
    /// This process dials, and public addresses only: for destinations that a user named.
    PublicOnly(PublicOnly),
    /// Through the courier of this purpose.
    Courier(Couriers, CourierPurpose),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// No courier offers tunnels.
    #[error("no courier is connected; in a cluster its pod must run and reach the control port")]
    NoCourier,
    /// The courier was not started for this destination.
    #[error("the courier may not connect to {0}; it was started for other destinations")]
    NotForCourier(String),
    /// No connection.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// The destination's certificate, or its TLS.
    #[error("the TLS handshake with {0} failed: {1}")]
    Tls(String, String),
    /// It took too long.
    #[error("{0} did not answer in time")]
    Slow(String),
    /// It did not speak HTTP, or cut the connection.
    #[error("{0} did not answer as an HTTP server does: {1}")]
    Http(String, String),
    /// Its answer is longer than is read.
    #[error("{0} answered with more than {1} bytes")]
    TooLong(String, usize),
}

impl OutboundError {
    /// For metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::NoCourier => "no-courier",
            Self::NotForCourier(_) => "not-for-courier",
            Self::Unreachable(..) => "unreachable",
            Self::Tls(..) => "tls",
            Self::Slow(_) => "slow",
            Self::Http(..) => "http",
            Self::TooLong(..) => "too-long",
        }
    }
}

/// Asks one question and reads the whole answer.
///
/// # Errors
/// [`OutboundError`], in words that do not change from attempt to attempt.
pub async fn ask(
    way: &Way,
    destination: &Destination,
    trust: &Trust,
    request: Request,
) -> Result<Reply, OutboundError> {
    let asked = async {
        let stream = open(way, destination).await?;
        exchange::ask(stream, destination, trust, request).await
    };
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    answered.unwrap_or_else(|_| Err(OutboundError::Slow(destination.authority())))
}

async fn open(way: &Way, destination: &Destination) -> Result<Box<dyn ByteStream>, OutboundError> {
    match way {
        Way::Direct => connect(None, &destination.authority())
            .await
            .map_err(|error| OutboundError::Unreachable(destination.authority(), dial::sentence(&error))),
        Way::PublicOnly(public) => public
            .connect(&destination.authority())
            .await
            .map_err(|error| OutboundError::Unreachable(destination.authority(), dial::sentence(&error))),
        Way::Courier(couriers, purpose) => couriers.tunnel(*purpose, &destination.authority()).await,
    }
}
