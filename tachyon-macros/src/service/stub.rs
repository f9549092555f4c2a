//! The stub of a service with a mistake, so that the uses of the service are no further errors.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Path;
use syn::ext::IdentExt;

use super::check::TAKEN;
use super::model::ServiceTrait;
use crate::args::Args;
use crate::attrs;
use crate::endpoint::stub::{stub_arguments, stub_reply, stub_stream};
use crate::library::private;

/// The trait, the mistakes, and stubs of the client and the service. Their methods take any arguments.
pub(crate) fn service(args: &Args, declared: &ServiceTrait, report: Result<(), TokenStream>) -> TokenStream {
    let errors = report.err();
    let item = &declared.item;
    let vis = &item.vis;
    let private = private(&args.library);
    let (service, client) = (declared.service_name(), declared.client_name());
    let async_client = async_client(declared, &private);
    let shared = attrs::shared(&item.attrs);
    let methods = declared.methods.iter().map(|declared| {
        let name = &declared.method.sig.ident;
        if TAKEN.contains(&name.unraw().to_string().as_str()) {
            return quote!();
        }
        let arguments = stub_arguments(&declared.method.sig, &private);
        let sig = &declared.method.sig;
        let reply = stub_stream(sig, &private).unwrap_or_else(|| stub_reply(&sig.output, &private));
        quote_spanned! {Span::mixed_site()=>
            pub fn #name(
                &mut self,
                #arguments
            ) -> #private::Result<#reply, #private::CallError> {
                loop {}
            }
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #item
        #errors

        #[doc(hidden)]
        #shared
        #[allow(dead_code, reason = "a stub")]
        #vis struct #service {}

        #shared
        #[allow(missing_docs, dead_code, reason = "a stub")]
        #[automatically_derived]
        impl #service {
            pub const fn endpoints<Implementor: 'static>() -> &'static [#private::Entry<Implementor>] {
                &[]
            }

            pub fn dispatcher<Implementor: 'static>(implementor: Implementor) -> #private::Dispatcher<Implementor> {
                #private::Dispatcher::with_state(implementor, &[])
            }

            pub fn shared<Implementor: 'static>(
                implementor: #private::Arc<Implementor>,
            ) -> #private::Dispatcher<#private::Arc<Implementor>> {
                #private::Dispatcher::with_state(implementor, &[])
            }
        }

        #[doc(hidden)]
        #shared
        #[allow(dead_code, reason = "a stub")]
        #vis struct #client<C> {
            calls: C,
        }

        #shared
        #[allow(missing_docs, dead_code, reason = "a stub")]
        #[automatically_derived]
        impl<C> #client<C> {
            pub fn new(calls: C) -> Self {
                Self { calls }
            }

            pub fn within(self, _timeout: #private::Duration) -> Self {
                self
            }

            pub fn metadata(self, _key: &#private::str, _value: &#private::str) -> Self {
                self
            }

            pub fn idempotent(self) -> Self {
                self
            }

            pub fn window(self, _items: #private::u32) -> Self {
                self
            }

            pub fn starting(&mut self) -> &mut Self {
                self
            }

            pub fn get_mut(&mut self) -> &mut C {
                &mut self.calls
            }

            pub fn into_inner(self) -> C {
                self.calls
            }

            #(#methods)*
        }

        #async_client
    }
}

fn async_client(declared: &ServiceTrait, private: &Path) -> TokenStream {
    let (vis, name) = (&declared.item.vis, declared.async_client_name());
    let shared = attrs::shared(&declared.item.attrs);
    let methods = declared.methods.iter().map(|declared| &declared.method.sig);
    let methods = methods.filter(|sig| !TAKEN.contains(&sig.ident.unraw().to_string().as_str())).map(|sig| {
        let name = &sig.ident;
        let arguments = stub_arguments(sig, private);
        let reply = stub_stream(sig, private).unwrap_or_else(|| stub_reply(&sig.output, private));
        quote_spanned! {Span::mixed_site()=>
            pub async fn #name(&self, #arguments) -> #private::Result<#reply, #private::CallError> {
                loop {}
            }
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #private::with_tokio! {
            #[doc(hidden)]
            #shared
            #[allow(dead_code, reason = "a stub")]
            #[derive(#private::Clone, #private::Debug)]
            #vis struct #name {}

            #shared
            #[allow(missing_docs, dead_code, reason = "a stub")]
            #[automatically_derived]
            impl #name {
                pub fn new(_caller: #private::AsyncCaller) -> Self {
                    Self {}
                }

                pub fn within(self, _timeout: #private::Duration) -> Self {
                    self
                }

                pub fn idempotent(self) -> Self {
                    self
                }

                pub fn metadata(self, _key: &#private::str, _value: &#private::str) -> Self {
                    self
                }

                pub fn window(self, _items: #private::u32) -> Self {
                    self
                }

                pub fn into_inner(self) -> #private::AsyncCaller {
                    loop {}
                }

                #(#methods)*
            }
        }
    }
}
