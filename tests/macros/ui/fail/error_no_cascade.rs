//! The uses of declared errors with a mistake are no further errors.
use tachyon::payload::DeclaredError;

#[tachyon::error]
enum ScanError {
    Silent,
    #[error("no sensor {sensor}")]
    NoSensor { sensor: usize },
}

fn fails(sensor: usize) -> Result<(), ScanError> {
    if sensor == 0 { Err(ScanError::Silent) } else { Err(ScanError::NoSensor { sensor }) }
}

fn shows(error: &impl DeclaredError) -> Box<dyn std::error::Error> {
    error.to_string().into()
}

fn main() {
    println!("{:?} {}", fails(0), shows(&fails(1).unwrap_err()));
}
