//! A vendor's requests: what the relay is told of the admin's answers, and what is shown of the requests.
//!
//! The relay decides, logs and acts; here a policy becomes its directive ([`answers`]), its report becomes status and a
//! condition ([`shown`]), and two statuses become events ([`news`]). Nothing here carries a request out. Pure.

pub mod answers;
