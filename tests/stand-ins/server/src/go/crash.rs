//! A Go program that dereferences nil: what it prints, and how it ends.

/// `place` is the function that the trace names.
pub fn nil_pointer(place: &str) -> ! {
    eprintln!(
        "panic: runtime error: invalid memory address or nil pointer dereference\n\
         [signal SIGSEGV: segmentation violation code=0x1 addr=0x10 pc=0x7c1a2e]\n\n\
         goroutine 1 [running]:\n{place}"
    );
    crate::boot::exit(2)
}
