//! Certificates for trials and tests: an authority, and a certificate of it for each end of a link.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use thiserror::Error;

/// Why there are no certificates.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A certificate cannot be made, for instance of a name that is no DNS name.
    #[error("the certificate of `{name}` cannot be made: {source}")]
    Made {
        /// The name of the certificate.
        name: String,
        /// The cause.
        source: rcgen::Error,
    },
    /// A file cannot be written. Files of an earlier run are never replaced.
    #[error("{path} cannot be written: {source}")]
    Written {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

/// Makes an authority, and a certificate for each name, in a folder: `authority.pem`, `authority.key`, and for each
/// name `NAME.pem` and `NAME.key`. A certificate has its name and `localhost` as DNS names, and is good for both ends
/// of a link. Only the owner may read the keys.
///
/// # Errors
/// [`CertificateError`]. Files that were written before the error stay.
pub fn write_certificates(folder: &Path, names: &[String]) -> Result<(), CertificateError> {
    std::fs::create_dir_all(folder)
        .map_err(|source| CertificateError::Written { path: folder.display().to_string(), source })?;
    let authority = authority().map_err(|source| CertificateError::Made { name: "authority".to_owned(), source })?;
    write(folder, "authority", &authority.pem(), &authority.key().serialize_pem())?;
    for name in names {
        let (certificate, key) =
            signed(name, &authority).map_err(|source| CertificateError::Made { name: name.clone(), source })?;
        write(folder, name, &certificate, &key)?;
    }
    Ok(())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, "authority of a tachyon link");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// The certificate of a name and its key, in PEM.
fn signed(name: &str, authority: &CertifiedIssuer<'_, KeyPair>) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new([name.to_owned(), "localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(folder: &Path, name: &str, certificate: &str, key: &str) -> Result<(), CertificateError> {
    for (ending, content, mode) in [("pem", certificate, 0o644), ("key", key, 0o600)] {
        let path = folder.join(format!("{name}.{ending}"));
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|source| CertificateError::Written { path: path.display().to_string(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["host-a".to_owned(), "host-b".to_owned()];
        write_certificates(folder.path(), &names).unwrap();
        for name in ["authority", "host-a", "host-b"] {
            for (ending, begin) in [("pem", "-----BEGIN CERTIFICATE-----"), ("key", "-----BEGIN PRIVATE KEY-----")] {
                let text = std::fs::read_to_string(folder.path().join(format!("{name}.{ending}"))).unwrap();
                assert!(text.starts_with(begin), "{text}");
            }
        }
        let again = write_certificates(folder.path(), &names).unwrap_err();
        assert!(matches!(again, CertificateError::Written { .. }));
    }
}
