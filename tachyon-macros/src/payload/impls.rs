//! Implementations that several kinds of payloads have.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Path;

use crate::helper::HelperArgs;

/// `impl Clone` and `impl Copy` of a fixed payload, except those that the user derives.
///
/// ```text
/// struct Order { side: Side }   =>   impl Clone for Order where for<'fixed> Side: Fixed { .. }
/// ```
pub(crate) fn impl_copy(name: &TokenStream, bounds: &TokenStream, helper: &HelperArgs, private: &Path) -> TokenStream {
    let mut copies = TokenStream::new();
    if !helper.has("Clone") {
        copies.extend(quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl #private::Clone for #name #bounds {
                #[inline]
                fn clone(&self) -> Self {
                    *self
                }
            }
        });
    }
    if !helper.has("Copy") {
        copies.extend(quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl #private::Copy for #name #bounds {}
        });
    }
    copies
}

/// `impl ReplyValue` for a reference, so that an endpoint may return one.
pub(crate) fn impl_reply_by_reference(name: &TokenStream, bounds: &TokenStream, private: &Path) -> TokenStream {
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        impl #private::ReplyValue for &#name #bounds {
            type Message = #name;

            #[inline]
            fn view(&self) -> <#name as #private::Value>::View<'_> {
                #private::Value::view(*self)
            }

            #[inline]
            fn bytes(&self) -> #private::Option<&[#private::u8]> {
                #private::Value::bytes(*self)
            }
        }
    }
}
