//! A certificate authority, which issues keys and certificates. It knows nothing of organizations.

use std::path::PathBuf;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::existing::ExistingPair;
use super::key::{Keys, LowS};
use super::verify::Parsed;
use super::{IdentityError, PrivateKey, Validity};

/// A validity as certificates have it.
#[derive(Clone, Copy)]
pub(super) struct Period {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Period {
    pub(super) fn new(validity: Validity) -> Result<Self, IdentityError> {
        let Validity { not_before, not_after } = validity;
        let period =
            seconds(not_before).zip(seconds(not_after)).map(|(not_before, not_after)| Self { not_before, not_after });
        period
            .filter(|period| period.not_before < period.not_after)
            .ok_or(IdentityError::Validity { not_before, not_after })
    }
}

impl Period {
    /// The start of the period, at which existing certificates must be valid.
    fn now(self) -> SystemTime {
        self.not_before.into()
    }

    /// The same start, and an end no later than `end`.
    fn until(self, end: SystemTime) -> Self {
        Self { not_after: seconds(end).map_or(self.not_after, |end| end.min(self.not_after)), ..self }
    }
}

fn seconds(instant: SystemTime) -> Option<OffsetDateTime> {
    let since = instant.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    OffsetDateTime::from_unix_timestamp(i64::try_from(since.as_secs()).ok()?).ok()
}

/// What a certificate is for.
pub(super) enum Purpose<'a> {
    /// A signing identity with its `NodeOUs` role: `client`, `peer`, `admin` or `orderer`.
    Sign { role: &'a str },
    /// A node in TLS: server and client, under these names and addresses.
    Node { names: &'a [String] },
    /// A TLS server that is never a client.
    Server { names: &'a [String] },
    /// A TLS client.
    Client,
}

impl Purpose<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Sign { .. } => "signer",
            Self::Node { .. } => "node",
            Self::Server { .. } => "server",
            Self::Client => "client",
        }
    }
}

/// A certificate and its key.
pub(super) struct Issued {
    pub(super) certificate_pem: String,
    pub(super) private_key_pem: PrivateKey,
}

/// A certificate authority. Without a key it cannot issue.
pub(super) struct Authority {
    issuer: Option<Issuer<'static, LowS>>,
    certificate_pem: String,
    private_key_pem: Option<PrivateKey>,
    period: Period,
    keys: Keys,
    /// The path of its certificate, if that exists already.
    path: PathBuf,
}

impl Authority {
    /// A self-signed authority such as `ca.org1.example.com` of `org1.example.com`.
    pub(super) fn new(
        common_name: &str,
        organization: &str,
        period: Period,
        keys: Keys,
    ) -> Result<Self, IdentityError> {
        let mut params = parameters(period);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let (key, private_key_pem) = keys.key(common_name).map_err(named(common_name))?;
        let certificate = params.self_signed(&key).map_err(named(common_name))?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            private_key_pem: Some(private_key_pem),
            issuer: Some(Issuer::new(params, key)),
            period,
            keys,
            path: PathBuf::new(),
        })
    }

    /// An existing authority. Certificates that it issues end no later than its own.
    pub(super) fn of(pair: ExistingPair, period: Period, keys: Keys) -> Result<Self, IdentityError> {
        let ExistingPair { path, certificate_pem, key } = pair;
        let wrong = |problem| IdentityError::Existing { path: path.clone(), problem };
        let parsed = Parsed::new(&certificate_pem).map_err(wrong)?;
        parsed.check_authority(period.now()).map_err(wrong)?;
        let issuer = match &key {
            None => None,
            Some(key) => {
                let key = parsed.check_key(key).map_err(wrong)?;
                let issuer = Issuer::from_ca_cert_pem(&certificate_pem, LowS::new(key));
                Some(issuer.map_err(|error| wrong(format!("cannot issue certificates: {error}")))?)
            }
        };
        let period = parsed.not_after().map_or(period, |end| period.until(end));
        Ok(Self { issuer, certificate_pem, private_key_pem: key, period, keys, path })
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Whether it is one of these.
    pub(super) fn is_one_of(&self, authorities: &[Parsed]) -> bool {
        Parsed::new(&self.certificate_pem).is_ok_and(|own| authorities.iter().any(|other| other.is(&own)))
    }

    /// Checks that each of these is a valid authority.
    pub(super) fn check_authorities(&self, authorities: &[Parsed]) -> Result<(), String> {
        authorities.iter().try_for_each(|authority| authority.check_authority(self.period.now()))
    }

    /// Its key; `None` for an existing authority without one.
    pub(super) fn private_key_pem(&self) -> Option<&PrivateKey> {
        self.private_key_pem.as_ref()
    }

    /// Checks and returns the existing pair, which this authority must have issued; issues one if there is none.
    pub(super) fn reuse_or_issue(
        &self,
        existing: Option<ExistingPair>,
        common_name: &str,
        purpose: &Purpose<'_>,
    ) -> Result<Issued, IdentityError> {
        let own = Parsed::all(&self.certificate_pem)
            .map_err(|problem| IdentityError::Existing { path: self.path.clone(), problem })?;
        self.reuse_trusted_or_issue(existing, &own, common_name, purpose)
    }

    /// As [`Self::reuse_or_issue`], for an existing pair that any of these authorities issued.
    pub(super) fn reuse_trusted_or_issue(
        &self,
        existing: Option<ExistingPair>,
        authorities: &[Parsed],
        common_name: &str,
        purpose: &Purpose<'_>,
    ) -> Result<Issued, IdentityError> {
        let Some(ExistingPair { path, certificate_pem, key }) = existing else {
            return self.issue(common_name, purpose);
        };
        let wrong = |problem| IdentityError::Existing { path: path.clone(), problem };
        let Some(private_key_pem) = key else {
            return Err(wrong("has no key; add it, or remove the certificate to generate both".to_owned()));
        };
        let parsed = Parsed::new(&certificate_pem).map_err(wrong)?;
        parsed.check_key(&private_key_pem).map_err(wrong)?;
        parsed.check_issued(authorities, purpose, self.period.now()).map_err(wrong)?;
        Ok(Issued { certificate_pem, private_key_pem })
    }

    /// Issues a new key and certificate.
    fn issue(&self, common_name: &str, purpose: &Purpose<'_>) -> Result<Issued, IdentityError> {
        let issuer = self.issuer.as_ref().ok_or_else(|| IdentityError::NoAuthorityKey {
            name: common_name.to_owned(),
            authority: self.path.clone(),
        })?;
        let mut params = parameters(self.period);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if let Purpose::Sign { role } = purpose {
            params.distinguished_name.push(DnType::OrganizationalUnitName, *role);
        } else {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.distinguished_name.push(DnType::CommonName, common_name);
        let (names, server, client): (&[String], bool, bool) = match purpose {
            Purpose::Sign { .. } => (&[], false, false),
            Purpose::Node { names } => (names, true, true),
            Purpose::Server { names } => (names, true, false),
            Purpose::Client => (&[], false, true),
        };
        if server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.subject_alt_names = CertificateParams::new(names).map_err(named(common_name))?.subject_alt_names;
        let owner = format!("{common_name}, a {}", purpose.name());
        let (key, private_key_pem) = self.keys.key(&owner).map_err(named(common_name))?;
        let certificate = params.signed_by(&key, issuer).map_err(named(common_name))?;
        Ok(Issued { certificate_pem: certificate.pem(), private_key_pem })
    }
}

fn parameters(period: Period) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = period.not_before;
    params.not_after = period.not_after;
    params.distinguished_name = DistinguishedName::new();
    params
}

fn named(name: &str) -> impl FnOnce(rcgen::Error) -> IdentityError + '_ {
    |source| IdentityError::Certificate { name: name.to_owned(), source }
}
