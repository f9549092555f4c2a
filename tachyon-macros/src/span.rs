//! Spans of generated code, so that rustc reports mistakes in it at the user's tokens.
//!
//! The span of an expression reaches from its first token to its last. Stable macros cannot join two spans, but they
//! can give the first and the last token of a generated expression the spans of the first and the last user token.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::ToTokens;

/// The spans of the first and the last of the user's tokens.
#[derive(Clone, Copy)]
pub(crate) struct SpanRange {
    first: Span,
    last: Span,
}

impl SpanRange {
    pub(crate) fn of(tokens: impl ToTokens) -> Self {
        let mut spans = tokens.into_token_stream().into_iter().map(|token| token.span());
        let first = spans.next().unwrap_or_else(Span::call_site);
        SpanRange { first, last: spans.last().unwrap_or(first) }
    }

    /// Gives both ends of a generated type the user's spans, including their hygiene. rustc then reports an error in
    /// the type as one in the user's tokens, once for all generated types that replace them.
    pub(crate) fn resolved(self, ty: TokenStream) -> TokenStream {
        let mut tokens: Vec<TokenTree> = ty.into_iter().collect();
        if let Some(first) = tokens.first_mut() {
            first.set_span(self.first);
        }
        if let Some(last) = tokens.last_mut() {
            last.set_span(self.last);
        }
        tokens.into_iter().collect()
    }

    /// Gives `expression` the location of the user's tokens. Its names keep their hygiene: a span has location and
    /// hygiene apart.
    pub(crate) fn located(self, expression: TokenStream) -> TokenStream {
        let mut tokens: Vec<TokenTree> = expression.into_iter().collect();
        let end = tokens.len().saturating_sub(1);
        // rustc joins the two ends only if their hygiene is the same. Only names depend on hygiene.
        let scope = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        for (at, token) in tokens.iter_mut().enumerate() {
            let scope = if let TokenTree::Ident(name) = &*token { name.span() } else { scope };
            token.set_span(scope.located_at(if at == end { self.last } else { self.first }));
        }
        tokens.into_iter().collect()
    }
}

/// The user's tokens with the hygiene of generated code, at the same location. rustc's lints skip them: the lints have
/// seen the user's own tokens. The tokens name the same items.
pub(crate) fn generated(tokens: impl ToTokens) -> TokenStream {
    let written = |span: Span| Span::mixed_site().located_at(span);
    tokens
        .into_token_stream()
        .into_iter()
        .map(|token| match token {
            TokenTree::Group(group) => {
                let mut copy = Group::new(group.delimiter(), generated(group.stream()));
                copy.set_span(written(group.span()));
                TokenTree::Group(copy)
            }
            // `$crate` is the one name that rustc resolves by its span.
            TokenTree::Ident(ident) if ident == "$crate" => TokenTree::Ident(ident),
            mut token => {
                token.set_span(written(token.span()));
                token
            }
        })
        .collect()
}
