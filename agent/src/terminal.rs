//! What people see: aligned lines, colours on a terminal only, text that cannot move the cursor.
