module calf

go 1.19
