// A reader to be measured against: go-mysql decoding every row. Usage: peer PORT LASTFILE
//
// Reads the server's binlog from its first file until LASTFILE begins and prints {"rows":N}.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 40021,
		Flavor:   "mysql",
		Host:     "127.0.0.1",
		Port:     uint16(port),
		User:     "phi_repl",
		Password: "phi_repl",
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	streamer, err := syncer.StartSync(mysql.Position{Name: "binlog.000001", Pos: 4})
	if err != nil {
		log.Fatal(err)
	}
	rows := 0
	for {
		event, err := streamer.GetEvent(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		if rotate, ok := event.Event.(*replication.RotateEvent); ok && string(rotate.NextLogName) >= os.Args[2] {
			break
		}
		rows += count(event)
	}
	fmt.Printf("{\"rows\":%d}\n", rows)
}

func count(event *replication.BinlogEvent) int {
	switch data := event.Event.(type) {
	case *replication.RowsEvent:
		if data.Type() == replication.EnumRowsEventTypeUpdate {
			return len(data.Rows) / 2 // before and after
		}
		return len(data.Rows)
	case *replication.TransactionPayloadEvent:
		rows := 0
		for _, inner := range data.Events {
			rows += count(inner)
		}
		return rows
	}
	return 0
}
