module epoll-kit/peer-go

go 1.19
