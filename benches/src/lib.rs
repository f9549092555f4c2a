//! What Tachyon costs, measured: each program in `src/bin` answers one question and says how.
