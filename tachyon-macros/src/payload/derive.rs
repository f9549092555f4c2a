//! The derive that writes the code of a payload.

use proc_macro2::TokenStream;
use syn::Path;

use super::model::PayloadItem;
use super::{fixed, stub, variable};
use crate::helper::HelperArgs;
use crate::library::private;

/// Writes the code of the kind that the helper attribute names.
pub(crate) fn derive(item: &TokenStream) -> TokenStream {
    let read = || -> syn::Result<(PayloadItem, HelperArgs, Path)> {
        let declared = PayloadItem::parse(item)?;
        let helper = HelperArgs::of(declared.attrs())?;
        let library = helper.library("#[tachyon::payload]")?;
        Ok((declared, helper, private(&library)))
    };
    match read() {
        Err(error) => error.to_compile_error(),
        Ok((declared, helper, private)) if helper.has("stub") => stub::stub(&declared, &helper, &private),
        Ok((PayloadItem::Struct(item), helper, private)) if helper.has("variable") => {
            variable::payload(&item, &helper, &private)
        }
        Ok((declared, helper, private)) => fixed::payload(&declared, &helper, &private),
    }
}
