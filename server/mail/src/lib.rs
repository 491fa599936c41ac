//! What a letter is: addresses, envelopes, headers and the MIME tree.
