//! The command line. What clap can check is checked here; values are parsed into the domain's types at once.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use paramant_client::logged::Locator;
use paramant_protocol::entry::Kind;
use paramant_protocol::id::{BlobHash, DeviceId};
use paramant_protocol::moment;
use paramant_protocol::period::Period;
use paramant_protocol::pqhb::PadBlock;
use paramant_tlog::vkey::VerifierKey;

/// Send and receive files through a relay, verify receipts, audit a relay's log.
#[derive(Parser)]
#[command(name = "paramant", version, after_help = crate::exit::HELP)]
pub(crate) struct Arguments {
    /// One JSON line instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make this device's keys, if it has none, and register them with the relay.
    Register(Register),
    /// Encrypt a file to a device and upload it.
    Send(Send),
    /// Take one view of a blob, decrypt it and write it to a file.
    Receive(Receive),
    /// Decrypt a blob that was kept when it could not be opened, or that came through a download link.
    Decrypt(Decrypt),
    /// Whether a blob is there. Uses no view.
    Status(Status),
    /// Show a device's fingerprint, or accept its keys after comparing it with the owner.
    Trust(Trust),
    /// Check a receipt offline; with --relay also its entry in the log.
    Verify(Verify),
    /// Read a relay's whole log, or a copy of it, and check everything that can be checked.
    Audit(Audit),
    /// Read entries of a log, prove them, or copy the log.
    Log(Log),
    /// Read licences, and see what a relay makes of its own and sends for it.
    #[command(subcommand)]
    License(License),
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// `paramant license …`
#[derive(Subcommand)]
pub(crate) enum License {
    /// Show what a licence says, whoever signed it.
    Inspect(LicenseFile),
    /// Check an offline licence: signature, form, expiry. Needs no network.
    Verify(LicenseFile),
    /// Check that a reply of an authority answers a request and is signed by a key. Needs no network.
    VerifyReply(LicenseReply),
    /// What counts on a relay now, and how its online check stands.
    Status(Administrator),
    /// Write the exact bytes that the next check-in sends, to be read, or carried to the authority.
    Request {
        #[command(flatten)]
        admin: Administrator,
        /// Where to write them. Must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check in now.
    CheckIn(Administrator),
    /// Check-ins that are over, with their digests and their places in the log.
    History(Administrator),
    /// Show the exact bytes that the next check-in would send with telemetry on, and what names a consent to them.
    Preview {
        #[command(flatten)]
        admin: Administrator,
        /// Where to write them, instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Put the licence clock's floor back to what signed documents say, after this relay's clock was wrong.
    ResetClock(Administrator),
}

/// A licence in a file.
#[derive(Args)]
pub(crate) struct LicenseFile {
    /// The file.
    pub(crate) file: PathBuf,
    /// The Ed25519 key that must have signed it (64 hex digits), instead of the published one.
    #[arg(long, value_name = "HEX")]
    pub(crate) public_key: Option<String>,
}

/// A reply, and the request it is to answer.
#[derive(Args)]
pub(crate) struct LicenseReply {
    /// The reply.
    #[arg(long, value_name = "FILE")]
    pub(crate) reply: PathBuf,
    /// The request.
    #[arg(long, value_name = "FILE")]
    pub(crate) request: PathBuf,
    /// The ML-DSA-65 key that must have signed it, in hex, as `paramant-authority key list` prints it.
    #[arg(long, value_name = "HEX")]
    pub(crate) public_key: String,
}

/// A relay, as its admin.
#[derive(Args)]
pub(crate) struct Administrator {
    #[command(flatten)]
    pub(crate) relay: Relay,
    /// File that holds the admin token; otherwise it is taken from PARAMANT_ADMIN_TOKEN.
    #[arg(long, env = "PARAMANT_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Which relay, and how to reach it.
#[derive(Args, Clone)]
pub(crate) struct Relay {
    /// Address of the relay, such as `https://relay.example`.
    #[arg(long, env = "PARAMANT_RELAY", value_name = "URL")]
    pub(crate) relay: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// How to reach a relay.
#[derive(Args, Clone, Default)]
pub(crate) struct Connection {
    /// Trust these certificates too (PEM).
    #[arg(long, env = "PARAMANT_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Allow http:// beyond this machine and the cluster. Shows the API key to everybody on the way.
    #[arg(long)]
    pub(crate) plain_http: bool,
}

/// Who we are.
#[derive(Args, Clone)]
pub(crate) struct Account {
    /// File that holds the API key; otherwise it is taken from PARAMANT_API_KEY.
    #[arg(long, env = "PARAMANT_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: State,
}

/// Where keys are kept.
#[derive(Args, Clone)]
pub(crate) struct State {
    /// Directory of device keys and of what was seen before [default: ~/.local/state/paramant].
    #[arg(long, env = "PARAMANT_STATE", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Which of our devices.
#[derive(Args, Clone)]
pub(crate) struct Own {
    /// Name of this device.
    #[arg(long, env = "PARAMANT_DEVICE", value_name = "NAME")]
    pub(crate) device: DeviceId,
}

/// A secret agreed on beforehand.
#[derive(Args, Clone)]
pub(crate) struct Shared {
    /// File that holds a secret both sides agreed on; mixed into the key.
    #[arg(long, value_name = "FILE")]
    pub(crate) pre_shared_file: Option<PathBuf>,
}

/// A password of a blob.
#[derive(Args, Clone)]
pub(crate) struct Protected {
    /// File that holds a password the relay asks readers for, beside their key; its last line break is no part of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Register {
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) account: Account,
    #[command(flatten)]
    pub(crate) own: Own,
}

#[derive(Args)]
pub(crate) struct Send {
    /// The file; - reads standard input.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) account: Account,
    #[command(flatten)]
    pub(crate) own: Own,
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) protected: Protected,
    /// The device to encrypt to [default: this device].
    #[arg(long, value_name = "NAME")]
    pub(crate) recipient: Option<DeviceId>,
    /// Refuse any other fingerprint of the recipient than this one.
    #[arg(long, value_name = "XXXX-XXXX-XXXX-XXXX-XXXX")]
    pub(crate) fingerprint: Option<String>,
    /// How long it may wait, such as 5m or 24h [default: the relay's].
    #[arg(long)]
    pub(crate) ttl: Option<Period>,
    /// How often it may be read [default: once].
    #[arg(long, value_name = "N")]
    pub(crate) max_views: Option<u64>,
    /// Size to pad to: 4K, 64K, 512K, 5M, 8M [default: 5M; files that do not fit are sent in chunks].
    #[arg(long, value_parser = pad)]
    pub(crate) pad: Option<PadBlock>,
    /// Send in chunks, whatever the size.
    #[arg(long, conflicts_with = "pad")]
    pub(crate) chunked: bool,
    /// At most one disclosure: a read that breaks off uses the view up. For files that are sent in chunks.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How long to go on without success when the line or the relay is down.
    #[arg(long, value_name = "PERIOD", default_value = "10m")]
    pub(crate) retry_for: Period,
    /// Do not sign.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Do not ask for the recipient's key in the relay's log (relays of other make keep none).
    #[arg(long)]
    pub(crate) without_log: bool,
}

#[derive(Args)]
pub(crate) struct Receive {
    /// The blob's hash.
    pub(crate) hash: BlobHash,
    /// Where to write the content.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) account: Account,
    #[command(flatten)]
    pub(crate) own: Own,
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) protected: Protected,
    /// Accept only a blob signed by this device.
    #[arg(long, value_name = "NAME")]
    pub(crate) sender: Option<DeviceId>,
    /// With --sender: do not ask for that device's key in the relay's log.
    #[arg(long, requires = "sender")]
    pub(crate) without_log: bool,
    /// Where to write the receipt [default: beside the content, with .receipt.json].
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// Replace files that are there already.
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to go on without success when the line or the relay is down; for files that were sent in chunks.
    #[arg(long, value_name = "PERIOD", default_value = "10m")]
    pub(crate) retry_for: Period,
}

#[derive(Args)]
pub(crate) struct Decrypt {
    /// The blob.
    pub(crate) file: PathBuf,
    /// Where to write the content.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) own: Own,
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) shared: Shared,
    /// Replace files that are there already.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct Status {
    /// The blob's hash.
    pub(crate) hash: BlobHash,
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) account: Account,
}

#[derive(Args)]
pub(crate) struct Trust {
    /// Whose keys.
    pub(crate) name: DeviceId,
    /// Accept the keys the relay shows now if they have this fingerprint.
    #[arg(long, value_name = "XXXX-XXXX-XXXX-XXXX-XXXX")]
    pub(crate) fingerprint: Option<String>,
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) account: Account,
}

/// By what a log is believed.
#[derive(Args, Clone)]
pub(crate) struct Believed {
    /// A key the log must be signed with; may be repeated.
    #[arg(long, value_name = "VKEY")]
    pub(crate) vkey: Vec<VerifierKey>,
    /// A trust policy (C2SP tlog-policy): logs to believe, and which witnesses must have cosigned.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// A receipt (JSON or base64), or an entry's proof (.tlog-proof); - reads standard input.
    pub(crate) receipt: PathBuf,
    /// The relay's identity: a file with the answer of /v2/pubkey, or the key in hex or base64.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Also check the entry in this relay's log. Never taken from the environment: without it nothing leaves this machine.
    #[arg(long, value_name = "URL")]
    pub(crate) relay: Option<String>,
    /// Also check the receipt's entry by this .tlog-proof, offline.
    #[arg(long, value_name = "FILE", conflicts_with = "relay")]
    pub(crate) proof: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) trust: Believed,
}

#[derive(Args)]
pub(crate) struct Audit {
    /// Address of the relay, such as `https://relay.example`; or a directory that mirrors its /log/; or archive zips of one log.
    #[arg(required = true, value_name = "URL|DIR|ZIP")]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) trust: Believed,
    /// A post-quantum signature of a trusted key must be there.
    #[arg(long)]
    pub(crate) require_pq: bool,
    /// How old the quorum of witnesses may be by this machine's clock, such as 1h [default: as old as the log's last growth].
    #[arg(long, value_name = "PERIOD", requires = "policy")]
    pub(crate) max_witness_age: Option<Period>,
    /// Remember keys and head here, check that the log continues what was seen last time, and read only what is new.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Tell what the vendor asked of the relay and what became of it, what that rests on, and what it does not prove. Reads the whole log.
    #[arg(long)]
    pub(crate) actions: bool,
    /// A licensing key that may have signed the vendor's requests, as hex or in a file, a time behind it if it ends; may be repeated. Without any, signatures are not checked.
    #[arg(long, value_name = "FILE|HEX", requires = "actions")]
    pub(crate) licensing_key: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

#[derive(Subcommand)]
pub(crate) enum LogCommand {
    /// Show the newest entries, each proven to be in the log.
    Tail(Tail),
    /// Show one entry, proven to be in the log.
    Get(Get),
    /// Write the offline proof of one entry, checked before it is written.
    Proof(Proof),
    /// Copy the whole log and check it; goes on where an earlier copy stopped.
    Archive(Archive),
}

#[derive(Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) log: LogAt,
    /// How many entries.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) lines: u64,
    /// Go on with entries as they come, until interrupted.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only entries of this kind, such as transfer or relay_started.
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// All entries of this hour and later, such as 2026-01-02T03:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "lines", value_parser = hour)]
    pub(crate) since: Option<String>,
}

#[derive(Args)]
pub(crate) struct Get {
    /// The entry's index, or a receipt id.
    pub(crate) entry: Locator,
    #[command(flatten)]
    pub(crate) log: LogAt,
}

#[derive(Args)]
pub(crate) struct Proof {
    /// The entry's index, or a receipt id.
    pub(crate) entry: Locator,
    #[command(flatten)]
    pub(crate) log: LogAt,
    /// Where to write it; - writes to standard output [default: entry-INDEX.tlog-proof].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct Archive {
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) trust: Believed,
    /// A directory, or a file that ends in .zip.
    #[arg(long, value_name = "DIR|FILE.zip")]
    pub(crate) out: PathBuf,
    /// Remember keys and head here, and check that the log continues what was seen last time.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
}

/// A relay's log, and by what it is believed: keys given, a policy, or the keys first seen.
#[derive(Args, Clone)]
pub(crate) struct LogAt {
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) trust: Believed,
    #[command(flatten)]
    pub(crate) state: State,
}

fn kind(text: &str) -> Result<Kind, String> {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    Kind::parse(text).ok_or_else(|| format!("there are these kinds: {}", names.join(", ")))
}

/// An hour in the fixed form of entries.
fn hour(text: &str) -> Result<String, String> {
    let at: jiff::Timestamp =
        text.parse().map_err(|error| format!("{error}; write it as 2026-01-02T03:00:00Z"))?;
    Ok(moment::hour(at))
}

fn pad(text: &str) -> Result<PadBlock, String> {
    PadBlock::parse(text).ok_or_else(|| "choose 4K, 64K, 512K, 5M or 8M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
