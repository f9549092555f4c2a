//! Making rustc point at the user's tokens when it finds a mistake in generated code.
//!
//! An expression reaches from its first token to its last. Stable macros cannot join two spans into one, but they can
//! give the ends of a generated expression the places of the two ends of what the user wrote.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::ToTokens;

/// Where the user's tokens begin and end.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    first: Span,
    last: Span,
}

impl Place {
    pub(crate) fn of(tokens: impl ToTokens) -> Self {
        let mut spans = tokens.into_token_stream().into_iter().map(|token| token.span());
        let first = spans.next().unwrap_or_else(Span::call_site);
        Place { first, last: spans.last().unwrap_or(first) }
    }

    /// Gives the two ends of a generated type to the user's tokens for good, scope and all: rustc takes what is wrong
    /// with the whole for a mistake of theirs, and reports it once for all the types that stand in for them.
    pub(crate) fn stand_in(self, ty: TokenStream) -> TokenStream {
        let mut tokens: Vec<TokenTree> = ty.into_iter().collect();
        if let Some(first) = tokens.first_mut() {
            first.set_span(self.first);
        }
        if let Some(last) = tokens.last_mut() {
            last.set_span(self.last);
        }
        tokens.into_iter().collect()
    }

    /// Moves `expression` there. Its names keep their meaning: a span's place and its scope are separate.
    pub(crate) fn take(self, expression: TokenStream) -> TokenStream {
        let mut tokens: Vec<TokenTree> = expression.into_iter().collect();
        let end = tokens.len().saturating_sub(1);
        // Two ends make one span only when they agree about the scope, which matters for names alone.
        let scope = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        for (at, token) in tokens.iter_mut().enumerate() {
            let scope = if let TokenTree::Ident(name) = &*token { name.span() } else { scope };
            token.set_span(scope.located_at(if at == end { self.last } else { self.first }));
        }
        tokens.into_iter().collect()
    }
}

/// The user's tokens as if this macro had written them, at the same place: rustc's lints leave them alone, since they
/// have looked at the tokens where the user wrote them. They name the same items.
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
            // The one name whose meaning is in its span.
            TokenTree::Ident(ident) if ident == "$crate" => TokenTree::Ident(ident),
            mut token => {
                token.set_span(written(token.span()));
                token
            }
        })
        .collect()
}
