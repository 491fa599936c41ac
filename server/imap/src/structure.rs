//! ENVELOPE, BODY and BODYSTRUCTURE on the wire (RFC 9051 7.5.2).
//!
//! Invariants: every message has an answer, however broken it is; the recursion is bounded by
//! `grace_mail::mime::DEPTH_MAX`.
//! Not here: reading MIME (`grace-mail`), keeping what was written (`facts`).

use std::ops::Range;

use grace_mail::envelope::Envelope;
use grace_mail::header;
use grace_mail::mailbox_list::Address;
use grace_mail::media::{Disposition, Param};
use grace_mail::mime::{Kind, Part, Tree};

use crate::response::Out;

/// Writes the ENVELOPE of a header block.
pub fn envelope(out: &mut Out, block: &[u8]) {
    let envelope = Envelope::of_header(block);
    out.raw("(").nstring(envelope.date.as_deref());
    out.raw(" ").nstring(envelope.subject.as_deref());
    let lists = [
        &envelope.from,
        &envelope.sender,
        &envelope.reply_to,
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    for list in lists {
        out.raw(" ");
        addresses(out, list);
    }
    out.raw(" ").nstring(envelope.in_reply_to.as_deref());
    out.raw(" ").nstring(envelope.message_id.as_deref()).raw(")");
}

fn addresses(out: &mut Out, list: &[Address]) {
    if list.is_empty() {
        out.raw("NIL");
        return;
    }
    out.raw("(");
    for address in list {
        match address {
            Address::Mailbox { name, route, local, host } => {
                out.raw("(").nstring(name.as_deref()).raw(" ").nstring(route.as_deref());
                out.raw(" ").string(local).raw(" ").string(host).raw(")");
            }
            // RFC 9051 7.5.2: a group starts with a NIL host and ends with a NIL mailbox name.
            Address::GroupStart { name } => {
                out.raw("(NIL NIL ").string(name).raw(" NIL)");
            }
            Address::GroupEnd => {
                out.raw("(NIL NIL NIL NIL)");
            }
        }
    }
    out.raw(")");
}

/// Writes BODY, or with `extended` BODYSTRUCTURE. `raw` is the message `tree` was made of. Returns
/// where extension data stands in what was written, which is all that makes the two differ.
pub fn body(out: &mut Out, raw: &[u8], tree: &Tree, extended: bool) -> Vec<Range<usize>> {
    let (start, mut extensions) = (out.place(), Vec::new());
    part_body(out, raw, tree, tree.root(), extended.then_some((start, &mut extensions)));
    extensions
}

/// Where the structure starts, and the places of extension data in it; `None`: it is left out.
type Extensions<'a> = Option<(usize, &'a mut Vec<Range<usize>>)>;

fn part_body(out: &mut Out, raw: &[u8], tree: &Tree, part: &Part, mut extensions: Extensions<'_>) {
    out.raw("(");
    if part.kind == Kind::Multipart {
        for child in tree.children(part) {
            let inner = extensions.as_mut().map(|(start, places)| (*start, &mut **places));
            part_body(out, raw, tree, child, inner);
        }
        out.raw(" ").string(&upper(&part.media.subtype));
        extension(out, part, extensions);
        out.raw(")");
        return;
    }
    let media = &part.media;
    out.string(&upper(&media.kind)).raw(" ").string(&upper(&media.subtype)).raw(" ");
    params(out, &media.params);
    out.raw(" ").nstring(media.id.as_deref());
    out.raw(" ").nstring(media.description.as_deref());
    // RFC 9051 9: body-fld-enc is a string; 7BIT is RFC 2045's default.
    out.raw(" ").string(&upper(media.encoding.as_deref().unwrap_or(b"7BIT")));
    out.raw(" ").number(part.body.len() as u64);
    if let (Kind::Message, Some(inner)) = (part.kind, tree.embedded(part)) {
        out.raw(" ");
        envelope(out, raw.get(inner.header.clone()).unwrap_or_default());
        out.raw(" ");
        let again = extensions.as_mut().map(|(start, places)| (*start, &mut **places));
        part_body(out, raw, tree, inner, again);
        out.raw(" ").number(part.lines as u64);
    } else if media.is_kind(b"text") {
        out.raw(" ").number(part.lines as u64);
    }
    extension(out, part, extensions);
    out.raw(")");
}

/// What ends every BODYSTRUCTURE: parameters of a multipart or the digest of another part,
/// disposition, language and location.
fn extension(out: &mut Out, part: &Part, extensions: Extensions<'_>) {
    let Some((start, places)) = extensions else { return };
    let (media, from) = (&part.media, out.place());
    out.raw(" ");
    if part.kind == Kind::Multipart {
        params(out, &media.params);
    } else {
        out.nstring(media.md5.as_deref());
    }
    out.raw(" ");
    match &media.disposition {
        Some(Disposition { kind, params: list }) => {
            out.raw("(").string(&upper(kind)).raw(" ");
            params(out, list);
            out.raw(")");
        }
        None => {
            out.raw("NIL");
        }
    }
    out.raw(" ");
    match media.languages.as_slice() {
        [] => {
            out.raw("NIL");
        }
        languages => {
            out.raw("(");
            for (place, language) in languages.iter().enumerate() {
                out.raw(if place == 0 { "" } else { " " }).string(language);
            }
            out.raw(")");
        }
    }
    out.raw(" ").nstring(media.location.as_deref());
    places.push(from - start..out.place() - start);
}

fn params(out: &mut Out, params: &[Param]) {
    if params.is_empty() {
        out.raw("NIL");
        return;
    }
    out.raw("(");
    for (place, param) in params.iter().enumerate() {
        out.raw(if place == 0 { "" } else { " " });
        out.string(&upper(&param.name)).raw(" ").string(&header::unfold(&param.value));
    }
    out.raw(")");
}

/// Types and attributes mean the same in any case; clients compare them in capitals.
fn upper(text: &[u8]) -> Vec<u8> {
    text.to_ascii_uppercase()
}
